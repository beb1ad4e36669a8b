package agent

import (
	"wick/framing"

	"wick/reactor/agent/internal/sys"
)

// environ gathers the environment of a command, KEY=value each, of which the last of a name counts. A host may send as many
// as fit in its message, so a name is found by its hash.
type environ struct {
	entries []string
	table   []int32 // index+1 of the entry whose name has that hash, or a little less; its length is a power of two
}

// childEnv is the agent's own environment with the entries added; nil, which is the same for the loop, if there are none.
func (a *Agent) childEnv(added framing.Env) []string {
	if added.Len() == 0 {
		return nil
	}
	a.garbage.Add(envGarbage)
	return mergeEnv(a.env, nil, added)
}

// startEnv is the environment of a process that runs as somebody; nil, as above, if it is the agent's own.
func (a *Agent) startEnv(who *account, req *framing.Start) []string {
	switch {
	case req.Only:
		return mergeEnv(nil, nil, req.Env)
	case !who.asked:
		return a.childEnv(req.Env)
	}
	a.garbage.Add(envGarbage)
	base := make([]string, 0, len(a.env))
	for _, entry := range a.env {
		switch name, _, _ := sys.Cut(entry, '='); name {
		case "HOME", "USER", "LOGNAME", "SHELL", "MAIL":
			continue // the agent's own
		}
		base = append(base, entry)
	}
	return mergeEnv(base, who.env(), req.Env)
}

// mergeEnv is an environment with some of the agent's entries added, and then a host's.
func mergeEnv(base, own []string, added framing.Env) []string {
	most := len(base) + len(own) + added.Len()
	size := 16
	for size < 2*most {
		size *= 2
	}
	e := environ{make([]string, 0, most), make([]int32, size)}
	for _, list := range [...][]string{base, own} {
		for _, entry := range list {
			name, _, _ := sys.Cut(entry, '=')
			e.set(entry, len(name))
		}
	}
	for key, value := range added.All {
		e.set(string(key)+"="+string(value), len(key))
	}
	return e.entries
}

// set takes an entry whose name is that long.
func (e *environ) set(entry string, name int) {
	const offset, prime = 2166136261, 16777619 // FNV-1a
	hash := uint32(offset)
	for i := range name {
		hash = (hash ^ uint32(entry[i])) * prime
	}
	for ; ; hash++ {
		place := &e.table[hash&uint32(len(e.table)-1)]
		if *place == 0 {
			e.entries = append(e.entries, entry)
			*place = int32(len(e.entries))
			return
		}
		if old := &e.entries[*place-1]; sameName(*old, entry, name) {
			*old = entry
			return
		}
	}
}

// sameName reports whether both entries have the same name, which is n bytes long in b.
func sameName(a, b string, n int) bool {
	return len(a) >= n && a[:n] == b[:n] && (len(a) == n || a[n] == '=')
}

// lookup is the value of a name in the agent's environment, or empty.
func (a *Agent) lookup(name string) string {
	value, _ := lookupIn(a.env, name)
	return value
}

// lookupIn is the value of a name in an environment.
func lookupIn(env []string, name string) (value string, ok bool) {
	for _, entry := range env {
		if key, value, ok := sys.Cut(entry, '='); ok && key == name {
			return value, true
		}
	}
	return "", false
}

package launch

import (
	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// envGarbage is what an environment leaves on the heap, in bytes.
const envGarbage = 4 << 10

// Env is the environment that children inherit, KEY=value each. The zero Env is empty.
type Env struct {
	entries []string
	garbage *sys.Garbage
}

// NewEnv returns the environment with those entries. garbage counts what is made of it.
func NewEnv(entries []string, garbage *sys.Garbage) Env { return Env{entries, garbage} }

// Entries returns the entries, which are not to be changed.
func (env *Env) Entries() []string { return env.entries }

// environ gathers the environment of a command, KEY=value each. The last entry of a name counts. It
// finds names by their hash, because a host may send as many as fit in its message.
type environ struct {
	entries []string
	table   []int32 // index+1 of the entry whose name has that hash, or a little less; its length is a power of two
}

// With returns the environment with entries added. It is nil if none are, which stands for the loop's
// environment.
func (env *Env) With(added framing.Env) []string {
	if added.Len() == 0 {
		return nil
	}
	env.garbage.Add(envGarbage)
	return mergeEnv(env.entries, nil, added)
}

// For returns the environment of a process that is started with an account. Like With it may be nil.
func (env *Env) For(who *Account, req *framing.Start) []string {
	switch {
	case req.Only:
		return mergeEnv(nil, nil, req.Env)
	case !who.asked:
		return env.With(req.Env)
	}
	env.garbage.Add(envGarbage)
	base := make([]string, 0, len(env.entries))
	for _, entry := range env.entries {
		switch name, _, _ := sys.Cut(entry, '='); name {
		case "HOME", "USER", "LOGNAME", "SHELL", "MAIL":
			continue // the agent's own
		}
		base = append(base, entry)
	}
	return mergeEnv(base, who.env(), req.Env)
}

// mergeEnv returns an environment with entries of the agent added, and then those of a host.
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

// set adds an entry, or replaces the one of the same name. name is the length of its name.
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

// Lookup returns the value of a name, or an empty text.
func (env *Env) Lookup(name string) string {
	value, _ := lookupIn(env.entries, name)
	return value
}

// lookupIn returns the value of a name in an environment.
func lookupIn(env []string, name string) (value string, ok bool) {
	for _, entry := range env {
		if key, value, ok := sys.Cut(entry, '='); ok && key == name {
			return value, true
		}
	}
	return "", false
}

// defaultPath is the PATH of an environment without one; exec(3).
const defaultPath = "/bin:/usr/bin"

// SearchPath returns the PATH of a child's environment, which With or For has returned.
func (env *Env) SearchPath(child []string) string {
	if child == nil {
		child = env.entries
	}
	if path, ok := lookupIn(child, "PATH"); ok {
		return path
	}
	return defaultPath
}

// SudoPath returns the PATH in which sudo is looked up.
func (env *Env) SudoPath() string {
	if path := env.Lookup("PATH"); path != "" {
		return path + ":/usr/bin"
	}
	return "/usr/bin"
}

package launch

import (
	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// envGarbage is how much heap garbage one environment makes, in bytes.
const envGarbage = 4 << 10

// Env is the environment that children inherit, as KEY=value entries. The zero Env is empty.
type Env struct {
	// Defaults says how commands are started.
	Defaults Defaults
	// Secrets are further entries, of the environment of commands alone. They win over the
	// others, and their memory may be cleared at any time.
	Secrets []string

	entries []string
	garbage *sys.Garbage
}

// NewEnv returns an environment with these entries. It keeps the slice. garbage counts what is
// built from it.
func NewEnv(entries []string, garbage *sys.Garbage) Env {
	return Env{entries: entries, garbage: garbage}
}

// Entries returns the entries. The caller must not change them.
func (env *Env) Entries() []string { return env.entries }

// environ builds the environment of a command. The last entry of a name wins. Names are looked up
// by hash, because one message can carry many thousands of them.
type environ struct {
	entries []string
	// table has 1 + the index of an entry at the hash of its name, or at the next free place
	// after it. Its length is a power of two.
	table []int32
}

// For returns the environment of a process that runs as acc, with the added entries; with only,
// these alone. It may return nil, which means the loop's own environment.
func (env *Env) For(acc *Account, added framing.Env, only bool) []string {
	if only {
		return mergeEnv(added)
	}
	d := &env.Defaults
	plain := len(d.env) == 0 && !d.only && len(env.Secrets) == 0
	if plain && !acc.asked && added.Len() == 0 {
		return nil
	}
	env.garbage.Add(envGarbage)
	base, own := env.entries, []string(nil)
	if d.only {
		base = nil
	}
	if acc.asked {
		base, own = withoutUser(base), acc.env()
	}
	return mergeEnv(added, base, own, d.env, env.Secrets)
}

// withoutUser returns the entries that do not describe the agent's user.
func withoutUser(entries []string) []string {
	kept := make([]string, 0, len(entries))
	for _, entry := range entries {
		switch name, _, _ := sys.Cut(entry, '='); name {
		case "HOME", "USER", "LOGNAME", "SHELL", "MAIL":
			continue
		}
		kept = append(kept, entry)
	}
	return kept
}

// mergeEnv returns the entries of the lists, then what the host added. Later entries replace
// earlier ones.
func mergeEnv(added framing.Env, lists ...[]string) []string {
	most := added.Len()
	for _, list := range lists {
		most += len(list)
	}
	size := 16
	for size < 2*most {
		size *= 2
	}
	e := environ{make([]string, 0, most), make([]int32, size)}
	for _, list := range lists {
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

// set adds an entry, or replaces the one with the same name. The name is the first n bytes of
// entry.
func (e *environ) set(entry string, n int) {
	const offset, prime = 2166136261, 16777619 // FNV-1a
	hash := uint32(offset)
	for i := range n {
		hash = (hash ^ uint32(entry[i])) * prime
	}
	for ; ; hash++ {
		place := &e.table[hash&uint32(len(e.table)-1)]
		if *place == 0 {
			e.entries = append(e.entries, entry)
			*place = int32(len(e.entries))
			return
		}
		if old := &e.entries[*place-1]; sameName(*old, entry, n) {
			*old = entry
			return
		}
	}
}

// sameName reports whether two entries have the same name, which is the first n bytes of b.
func sameName(a, b string, n int) bool {
	return len(a) >= n && a[:n] == b[:n] && (len(a) == n || a[n] == '=')
}

// Lookup returns the value of a name; empty if it is not set.
func (env *Env) Lookup(name string) string {
	value, _ := lookupIn(env.entries, name)
	return value
}

// lookupIn returns the value of a name in env.
func lookupIn(env []string, name string) (value string, ok bool) {
	for _, entry := range env {
		if key, value, ok := sys.Cut(entry, '='); ok && key == name {
			return value, true
		}
	}
	return "", false
}

// defaultPath is the PATH of an environment that has none; exec(3).
const defaultPath = "/bin:/usr/bin"

// SearchPath returns the PATH of an environment that For returned.
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

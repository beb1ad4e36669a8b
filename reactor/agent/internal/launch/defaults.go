package launch

import (
	"errors"

	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// Defaults says how commands are started if their requests say nothing else. The zero Defaults
// leaves everything as the agent has it.
type Defaults struct {
	// User and Dir are as in a start.
	User, Dir string

	env    []string // NAME=VALUE
	only   bool     // env replaces the agent's environment
	umask  *uint32
	limits []reactor.Limit
}

// Option is an option of the command line, as in package agent.
type Option struct {
	Name, Value, Help string
	Set               func(value string) error
	Many              func(value string) (name string)
	Private           bool
}

// before returns what stands before the first "=" of a value.
func before(value string) string {
	name, _, _ := sys.Cut(value, '=')
	return name
}

// Options returns the options that set d.
func (d *Defaults) Options() (options []Option) {
	for _, o := range [...]Option{
		{Name: "--command-user", Value: "USER",
			Help: "name or uid, and :group, that commands run as (default the agent's own)"},
		{Name: "--command-dir", Value: "DIR", Help: "working directory of commands"},
		{Name: "--command-env", Value: "NAME=VALUE", Many: before, Private: true,
			Help: "an entry of the environment of commands; may be repeated"},
		{Name: "--command-env-only", Help: "commands get no other entry than these"},
		{Name: "--command-umask", Value: "MASK", Help: "umask of commands, such as 077"},
		{Name: "--command-limit", Value: "NAME=SOFT[:HARD]", Many: before,
			Help: "a limit of commands, such as nofile=1024 or core=0; may be repeated"},
	} {
		name := o.Name
		o.Set = func(value string) error { return d.set(name, value) }
		options = append(options, o)
	}
	return options
}

// set sets an option. The error does not name it.
func (d *Defaults) set(option, value string) error {
	switch option[len("--command-"):] {
	case "user":
		if value == "" {
			return errors.New("not a user")
		}
		d.User = value
	case "dir":
		if value == "" || value[0] != '/' {
			return errors.New("not an absolute path")
		}
		d.Dir = value
	case "env":
		return SetEntry(&d.env, value)
	case "env-only":
		if value != "yes" && value != "no" {
			return errors.New("not yes or no")
		}
		d.only = value == "yes"
	case "umask":
		return d.setUmask(value)
	case "limit":
		return SetLimit(&d.limits, value)
	}
	return nil
}

// SetEntry adds an entry NAME=VALUE to a list, or replaces that of the same name.
func SetEntry(list *[]string, entry string) error {
	name, _, ok := sys.Cut(entry, '=')
	if !ok || name == "" {
		return errors.New("not NAME=VALUE")
	}
	for i, old := range *list {
		if before(old) == name {
			(*list)[i] = entry
			return nil
		}
	}
	*list = append(*list, entry)
	return nil
}

func (d *Defaults) setUmask(value string) error {
	mask := uint32(0)
	for i := range len(value) {
		if value[i]-'0' > 7 || mask > 0o77 {
			mask = 0o1000
			break
		}
		mask = mask<<3 | uint32(value[i]-'0')
	}
	if value == "" || mask > 0o777 {
		return errors.New("not an octal number from 0 to 777")
	}
	d.umask = &mask
	return nil
}

// Apply completes a command that runs as acc. It sets the user, and those defaults that spec has
// not set itself.
func (env *Env) Apply(spec *reactor.Command, acc *Account) {
	d := &env.Defaults
	if spec.Dir == "" {
		spec.Dir = d.Dir
	}
	spec.User, spec.Umask, spec.Wipe = acc.User, d.umask, len(env.Secrets) > 0
	for _, l := range d.limits {
		own := false
		for i := range spec.Limits {
			own = own || spec.Limits[i].Resource == l.Resource
		}
		if !own {
			spec.Limits = append(spec.Limits, l)
		}
	}
}

package workload

import (
	"errors"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

const (
	// Max is the most services, with the workload.
	Max = 32
	// maxName is the longest name of one, in bytes.
	maxName = 32
	// prefix begins the options of all services but the workload.
	prefix = "--service."
)

// Specs are the services of a machine. The zero Specs has none.
type Specs struct {
	list []*Spec // the first is the workload, if there is any
}

// find returns the service with that name, or nil.
func (l *Specs) find(name string) *Spec {
	for _, s := range l.list {
		if s.name == name {
			return s
		}
	}
	return nil
}

// newSpec returns a service with the defaults.
func newSpec(name string) *Spec {
	return &Spec{name: name, signal: defaultSignal, grace: defaultGrace}
}

// Options returns the options that set l: those of the workload, and one for all other services.
func (l *Specs) Options() []Option {
	if len(l.list) == 0 {
		l.list = append(l.list, newSpec(framing.WorkloadName))
	}
	return append(l.list[0].Options(), Option{
		Name: prefix, Value: "NAME.OPTION=VALUE", Set: l.set, Many: l.setting, Private: true,
		Help: "of a further service, command or an option of the workload",
	})
}

// setting returns the name of the option that "NAME.OPTION=VALUE" sets.
func (l *Specs) setting(text string) string {
	left, value, _ := sys.Cut(text, '=')
	name, option, _ := sys.Cut(left, '.')
	full := "service." + left
	if name == framing.WorkloadName {
		full = rowName(option)[len("--"):]
	}
	s := Spec{}
	if o := s.row(option); o != nil && o.Many != nil {
		full += "." + o.Many(value)
	}
	return full
}

// rowName returns the name of the workload's option that is a service's option.
func rowName(option string) string {
	if option == "command" {
		return "--workload"
	}
	return "--workload-" + option
}

// row returns the option that sets what a service calls option, or nil.
func (s *Spec) row(option string) *Option {
	options := s.Options()
	for i := range options {
		if options[i].Name == rowName(option) {
			return &options[i]
		}
	}
	return nil
}

// set sets an option of a service, "NAME.OPTION=VALUE".
func (l *Specs) set(text string) error {
	left, value, given := sys.Cut(text, '=')
	name, option, _ := sys.Cut(left, '.')
	if !isName(name) {
		return errors.New("not a name of 1 to 32 letters, digits, - and _")
	}
	s := l.find(name)
	isNew := s == nil
	if isNew {
		if s = newSpec(name); len(l.list) == Max {
			return errors.New("too many services (limit " + sys.Num(Max) + ")")
		}
	}
	o := s.row(option)
	switch {
	case o == nil:
		return errors.New("unknown option of a service")
	case o.Value == "" && !given:
		value = "yes"
	case !given:
		return errors.New("needs a value: " + o.Value)
	}
	err := o.Set(value)
	if err == nil && isNew {
		l.list = append(l.list, s)
	}
	return err
}

func isName(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return name != "" && len(name) <= maxName
}

// Check finds the services that can never be started, and calls wrong with the option that is to
// blame, without "--", and the reason.
func (l *Specs) Check(wrong func(option, reason string)) {
	for i, s := range l.list {
		option := "service." + s.name + "."
		if i == 0 {
			option = "workload-"
		}
		s.wrong = ""
		switch missing := l.missing(s); {
		case i > 0 && s.command.words.Len() == 0:
			s.wrong = "the service has no command"
			option += "command"
		case missing != "":
			s.wrong = "no service is named " + missing
			option += "after"
		case l.before(s, s, new(uint32)):
			s.wrong = "the service would have to start before itself"
			option += "after"
		case l.sameID(s):
			s.wrong = "the name has the hash of another"
			option += "command"
		}
		if s.wrong != "" {
			wrong(option, s.wrong)
		}
	}
}

// missing returns the first name in after that no service has, or "".
func (l *Specs) missing(s *Spec) string {
	for _, name := range s.after {
		if o := l.find(name); o == nil || o.name == framing.WorkloadName && o.command.words.Len() == 0 {
			return name
		}
	}
	return ""
}

// before reports whether s is started before to, because of after. seen has the services that were
// looked at, as bits.
func (l *Specs) before(s, to *Spec, seen *uint32) bool {
	for i, o := range l.list {
		if !has(to.after, o.name) || *seen&(1<<i) != 0 {
			continue
		}
		*seen |= 1 << i
		if o == s || l.before(s, o, seen) {
			return true
		}
	}
	return false
}

func has(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// sameID reports whether the id of s is that of a service before it.
func (l *Specs) sameID(s *Spec) bool {
	for _, o := range l.list {
		if o == s {
			return false
		}
		if framing.ServiceID(o.name) == framing.ServiceID(s.name) {
			return true
		}
	}
	return false
}

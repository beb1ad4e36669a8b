package workload

import (
	"errors"

	"wick/reactor/agent/internal/sys"
)

// limit is a resource limit of a service.
type limit struct {
	resource   uint8 // as setrlimit numbers it, or one of those below
	soft, hard uint64
}

// noResource and above are limits of the cgroup, on all processes together.
const (
	noResource  = 16
	limitMemory = noResource
	limitPids   = noResource + 1
	// unlimited is RLIM_INFINITY.
	unlimited = 1<<64 - 1
)

// resources has the names of limits, the first 16 as setrlimit numbers them.
var resources = [...]string{
	"cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks",
	"sigpending", "msgqueue", "nice", "rtprio", "rttime", limitMemory: "memory", limitPids: "pids",
}

// limitFiles has the files of the cgroup.
var limitFiles = [...]string{"memory.max", "pids.max"}

// setLimit takes NAME=SOFT[:HARD].
func (s *Spec) setLimit(value string) error {
	name, figures, _ := sys.Cut(value, '=')
	l := limit{resource: uint8(len(resources))}
	for i, known := range resources {
		if known == name {
			l.resource = uint8(i)
		}
	}
	if int(l.resource) == len(resources) {
		return errors.New("unknown limit")
	}
	soft, hard, two := sys.Cut(figures, ':')
	var ok, ok2 bool
	l.soft, ok = parseFigure(soft)
	l.hard, ok2 = l.soft, true
	if two {
		l.hard, ok2 = parseFigure(hard)
	}
	switch {
	case !ok || !ok2:
		return errors.New("not a number such as 1024 or 64m, nor unlimited")
	case l.soft > l.hard:
		return errors.New("the soft limit is above the hard one")
	case two && l.resource >= noResource:
		return errors.New("a limit of memory or pids is one number")
	}
	for i := range s.limits {
		if s.limits[i].resource == l.resource {
			s.limits[i] = l
			return nil
		}
	}
	s.limits = append(s.limits, l)
	return nil
}

// parseFigure parses a number with or without a unit.
func parseFigure(text string) (n uint64, ok bool) {
	if text == "unlimited" {
		return unlimited, true
	}
	n, unit, ok := sys.TakeNumber(text)
	shift := 0
	switch unit {
	case "":
	case "k":
		shift = 10
	case "m":
		shift = 20
	case "g":
		shift = 30
	default:
		return 0, false
	}
	return n << shift, ok && n<<shift>>shift == n
}

// boxLimits returns the limits of the cgroup.
func (s *Spec) boxLimits() (files [][2]string) {
	for _, l := range s.limits {
		if l.resource >= noResource {
			value := "max"
			if l.soft != unlimited {
				value = sys.Decimal(int64(min(l.soft, 1<<62)))
			}
			files = append(files, [2]string{limitFiles[l.resource-noResource], value})
		}
	}
	return files
}

package launch

import (
	"errors"

	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// Unlimited is RLIM_INFINITY.
const Unlimited = 1<<64 - 1

// limitNames has the names of resource limits, by their numbers; setrlimit(2).
var limitNames = [...]string{
	"cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks",
	"sigpending", "msgqueue", "nice", "rtprio", "rttime",
}

// FurtherLimit is the resource of the first of the further names of [SetLimit].
const FurtherLimit = len(limitNames)

// SetLimit takes NAME=SOFT[:HARD], in place of a limit of that name in list. Each is a number, with
// or without k, m or g behind it, or unlimited. further has names beside those of setrlimit. Their
// limits are one number.
func SetLimit(list *[]reactor.Limit, value string, further ...string) error {
	name, figures, _ := sys.Cut(value, '=')
	l := reactor.Limit{Resource: -1}
	for i, known := range append(limitNames[:FurtherLimit:FurtherLimit], further...) {
		if known == name {
			l.Resource = i
		}
	}
	if l.Resource < 0 {
		return errors.New("no limit of that name")
	}
	soft, hard, two := sys.Cut(figures, ':')
	if !two {
		hard = soft
	}
	var ok, ok2 bool
	l.Soft, ok = parseFigure(soft)
	l.Hard, ok2 = parseFigure(hard)
	switch {
	case !ok || !ok2:
		return errors.New("not a number such as 1024 or 64m, nor unlimited")
	case l.Soft > l.Hard:
		return errors.New("the soft limit is above the hard one")
	case two && l.Resource >= FurtherLimit:
		return errors.New("that limit is one number")
	}
	for i := range *list {
		if (*list)[i].Resource == l.Resource {
			(*list)[i] = l
			return nil
		}
	}
	*list = append(*list, l)
	return nil
}

// parseFigure parses a number with or without a unit.
func parseFigure(text string) (n uint64, ok bool) {
	if text == "unlimited" {
		return Unlimited, true
	}
	if text == "" || text[0]-'0' > 9 {
		return 0, false // TakeNumber would skip blanks
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

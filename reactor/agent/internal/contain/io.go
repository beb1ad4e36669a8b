package contain

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// IO is I/O on block devices.
type IO struct {
	Read, Written uint64 // bytes
	Reads, Writes uint64 // operations
}

// counting is whether the io controller counts for the cgroups of commands.
type counting uint8

const (
	notAsked counting = iota // no command has asked, so that none pays for it
	counts
	cannot
)

// TakeCounting is Take for a command whose I/O is to be counted. The kernel counts a write when it
// reaches the device, perhaps after the command has ended. So the cgroup is a new one, and is not
// used again. Without an io controller TakeCounting is Take.
func (t *Pool) TakeCounting() *Box {
	if t.path == "" {
		return nil
	}
	if t.io == notAsked {
		t.io = counts
		// The directory of the cgroups is below that of the agent's own.
		if t.allow(t.path[:sys.LastSlash(t.path)], "+io") != nil {
			t.io = cannot
		}
	}
	if t.io == cannot {
		return t.Take()
	}
	t.followMemory()
	g, err := t.make()
	if err != nil {
		return t.Take() // which logs why
	}
	g.spoiled, g.counts = true, true
	t.busy++
	return g
}

// IO returns what the command has read and written. ok is false if it was not counted.
func (g *Box) IO() (io IO, ok bool) {
	if g == nil || !g.counts {
		return IO{}, false
	}
	var buf [1 << 10]byte // about ten devices
	n, err := sys.ReadFileAt(g.dir, "io.stat", buf[:])
	if err != nil {
		return IO{}, sys.IsErrno(err, unix.EOPNOTSUPP)
	}
	io.parse(sys.Alias(buf[:n]))
	return io, true
}

// parse adds the lines of io.stat, one for each device; Documentation/admin-guide/cgroup-v2.rst:
//
//	254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0
func (io *IO) parse(text string) {
	for text != "" {
		var line string
		line, text, _ = sys.Cut(text, '\n')
		for word := ""; line != ""; {
			word, line, _ = sys.Cut(line, ' ')
			name, value, _ := sys.Cut(word, '=')
			n, _, _ := sys.TakeNumber(value)
			switch name {
			case "rbytes":
				io.Read += n
			case "wbytes":
				io.Written += n
			case "rios":
				io.Reads += n
			case "wios":
				io.Writes += n
			}
		}
	}
}

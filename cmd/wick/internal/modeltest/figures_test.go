package modeltest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"wick/framing/wiretest"
)

// figures has the resources that an agent holds.
type figures struct {
	rss, hwm int            // kB
	file     int            // kB of rss that are pages of files: the code used so far
	open     map[string]int // descriptors by kind, except those of cgroups
	cgroups  int            // cgroups that it has open
	left     int            // directories of other cgroups
	children int            // including zombies
	temp     []string       // names of temporary files
	evil     bool           // an invalid request was carried out
}

// lookScript prints what parseLook reads. %[1]s is the agent's pid, and %[2]s the model's
// directory.
const lookScript = `p=%[1]s
echo self $$
while read -r name value unit; do case $name in VmRSS:|VmHWM:|RssFile:) echo "$name $value";; esac; done </proc/$p/status
echo descriptors
ls -l /proc/$p/fd
echo processes
cat /proc/[0-9]*/stat 2>/dev/null
echo cgroups
for d in /sys/fs/cgroup /sys/fs/cgroup/unified; do ls -d $d/wick-$p/*/ $d/wick-$p-*/*/ 2>/dev/null; done
echo files
ls -a %[2]s /tmp ${TMPDIR-/tmp} | grep -e '^\.wick' -e '^evil'
true`

// parseLook parses the output of lookScript.
func parseLook(text, pid string) (f figures, err error) {
	f.open = map[string]int{}
	section, self, directories := "", "", 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		fields := strings.Fields(line)
		switch line {
		case "descriptors", "processes", "cgroups", "files":
			section = line
			continue
		}
		switch section {
		case "":
			if len(fields) != 2 {
				return f, fmt.Errorf("line %q", line)
			}
			n, err := strconv.Atoi(fields[1])
			if err != nil {
				return f, err
			}
			switch fields[0] {
			case "self":
				self = fields[1]
			case "VmRSS:":
				f.rss = n
			case "VmHWM:":
				f.hwm = n
			case "RssFile:":
				f.file = n
			}
		case "descriptors":
			if _, to, ok := strings.Cut(line, " -> "); ok {
				f.descriptor(to)
			}
		case "processes":
			// The name may contain any character, even a parenthesis. The first field after it is
			// the state, and the next the parent.
			id, _, _ := strings.Cut(line, " ")
			if i := strings.LastIndexByte(line, ')'); i > 0 {
				after := strings.Fields(line[i+1:])
				if len(after) > 1 && after[1] == pid && id != self {
					f.children++
				}
			}
		case "cgroups":
			directories++
		case "files":
			f.evil = f.evil || line == "evil"
			f.temp = append(f.temp, line)
		}
	}
	f.left = max(0, directories-f.cgroups)
	if f.rss == 0 {
		return f, fmt.Errorf("no figures in %s", wiretest.Brief([]byte(text)))
	}
	return f, nil
}

func (f *figures) descriptor(to string) {
	kind, _, _ := strings.Cut(to, ":[")
	switch {
	case strings.HasPrefix(to, "/sys/fs/cgroup"):
		f.cgroups++
		return
	case strings.HasPrefix(to, "/dev/") && !strings.HasPrefix(to, "/dev/shm/"):
		kind = "device" // process 1 has its console from a /dev that is gone
	case strings.Contains(to, "(deleted)"):
		kind = "spool file"
	case strings.HasPrefix(to, "anon_inode:"):
		kind = to
	}
	f.open[kind]++
}

// descriptors counts the open descriptors, except those of cgroups.
func (f *figures) descriptors() (n int) {
	for _, k := range f.open {
		n += k
	}
	return n
}

func (f figures) String() string {
	return fmt.Sprintf("VmRSS %d kB, VmHWM %d kB, descriptors %d, children %d, temporary files %d, cgroups %d",
		f.rss, f.hwm, f.descriptors(), f.children, len(f.temp), f.cgroups+f.left)
}

// maxCgroups limits the cgroups that an agent keeps for later commands. It covers as many as can
// run, and some with processes that have just ended.
const maxCgroups = 256 + 64

// beyond lists what the agent holds in addition to first. Both are taken at rest.
func (f figures) beyond(first figures) []string {
	var more []string
	for _, kind := range slices.Sorted(maps.Keys(f.open)) {
		n, was := f.open[kind], first.open[kind]
		if n > was {
			more = append(more, fmt.Sprintf("%d descriptors of %s, %d at first", n, kind, was))
		}
	}
	if f.children > first.children {
		more = append(more, fmt.Sprintf("%d children, %d at first", f.children, first.children))
	}
	if f.cgroups > maxCgroups || f.left > 0 {
		more = append(more, fmt.Sprintf("%d cgroups, and %d that the agent does not know of", f.cgroups, f.left))
	}
	if len(f.temp) > len(first.temp) {
		more = append(more, fmt.Sprintf("files %q", f.temp))
	}
	if f.evil {
		more = append(more, "the trace of an invalid request")
	}
	return more
}

// look reads the agent's figures.
func (m *model) look() (figures, error) {
	text, err := m.target.look(m)
	if err != nil {
		return figures{}, err
	}
	return parseLook(text, m.target.pid())
}

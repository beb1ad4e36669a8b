package disks

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// maxVolumes limits the volumes that figures are about.
const maxVolumes = 16

// AddFigures adds how large each mounted disk is, and how much of it is free: "volume./data.total"
// and "volume./data.free". It looks at file systems on block devices alone. One that a program or a
// host serves may not answer, so it looks at none below such a one either.
func (s *Service) AddFigures(f *framing.Figures) {
	if s.Disk.Held() {
		return // a lookup may wait for the thaw
	}
	s.Garbage.Collect(3 * sys.KernelFile)
	buf := make([]byte, 2*sys.KernelFile)
	n, _ := sys.ReadFile("/proc/self/mountinfo", buf)
	var served []string // where others may not answer
	left := maxVolumes
lines:
	for text := string(buf[:n]); text != "" && left > 0; {
		var line, device, where string
		line, text, _ = sys.Cut(text, '\n')
		_, line, _ = sys.Cut(line, ' ') // ids
		_, line, _ = sys.Cut(line, ' ')
		device, line, _ = sys.Cut(line, ' ')
		_, line, _ = sys.Cut(line, ' ') // root
		where, line, _ = sys.Cut(line, ' ')
		for word := ""; word != "-" && line != ""; {
			word, line, _ = sys.Cut(line, ' ')
		}
		kind, _, _ := sys.Cut(line, ' ')
		if where == "/" {
			continue // the figures disk.total and so on
		}
		if major, _, _ := sys.Cut(device, ':'); major == "0" {
			switch kind {
			case "tmpfs", "devtmpfs", "proc", "sysfs", "devpts", "mqueue", "cgroup2", "overlay":
			default:
				served = append(served, where)
			}
			continue
		}
		for _, dir := range served {
			if len(where) >= len(dir) && where[:len(dir)] == dir {
				continue lines
			}
		}
		var st unix.Statfs_t
		if unix.Statfs(where, &st) == nil {
			left--
			f.Add("volume."+where+".total", st.Blocks*uint64(st.Frsize))
			f.Add("volume."+where+".free", st.Bavail*uint64(st.Frsize))
		}
	}
}

package machine

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

const (
	// maxMounts is the most mounts among the facts, and maxFact limits the value of a fact, in
	// bytes.
	maxMounts = 16
	maxFact   = 200
)

// addFacts adds what identifies the agent and its machine, a few kB in all.
func (s *Service) addFacts(f *framing.Facts) {
	s.Garbage.Collect(factsGarbage)
	buf := make([]byte, sys.KernelFile)
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		f.Add("kernel", unix.ByteSliceToString(u.Release[:]))
		f.Add("kernel.build", unix.ByteSliceToString(u.Version[:]))
		f.Add("machine", unix.ByteSliceToString(u.Machine[:]))
	}

	f.Add("uptime", sys.Uptime())
	total := sys.ReadFigure(unix.AT_FDCWD, "/proc/meminfo", "MemTotal", buf)
	f.Add("memory.total_kib", sys.Decimal(int64(total)))
	for _, fact := range s.Facts {
		f.Add(fact[0], sys.Clip(fact[1], maxFact))
	}
	addMounts(f, buf)
	s.AddFacts(f)
	contained := "process group and /proc"
	if s.Contain.Contained() {
		contained = "cgroup"
	}
	f.Add("contained", contained)
	missing := &s.Contain.Missing
	for _, m := range [...][2]string{
		{"cgroup", missing.Cgroup}, {"pids", missing.Pids}, {"memory", missing.Memory},
		{"psi", missing.PSI}, {"oom", missing.OOM},
	} {
		if m[1] != "" {
			f.Add("degraded."+m[0], sys.Clip(m[1], maxFact))
		}
	}
}

// addMounts adds the first maxMounts mounts; proc_pid_mountinfo(5):
//
//	36 35 98:0 / /srv rw,noatime shared:1 - ext4 /dev/vdc rw
func addMounts(f *framing.Facts, buf []byte) {
	n, _ := sys.ReadFile("/proc/self/mountinfo", buf)
	for text, left := string(buf[:n]), maxMounts; text != "" && left > 0; left-- {
		var line, where, options, kind string
		line, text, _ = sys.Cut(text, '\n')
		for range 4 { // ids, device and root
			_, line, _ = sys.Cut(line, ' ')
		}
		where, line, _ = sys.Cut(line, ' ')
		options, line, _ = sys.Cut(line, ' ')
		for word := ""; word != "-" && line != ""; {
			word, line, _ = sys.Cut(line, ' ')
		}
		kind, _, _ = sys.Cut(line, ' ')
		f.Add("mount."+sys.Clip(where, maxFact), kind+" "+sys.Clip(options, maxFact))
	}
}

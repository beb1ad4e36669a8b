package agent

import (
	"golang.org/x/sys/unix"

	"wick/framing"
)

const (
	// maxMounts is the most mounts that are among the facts, and maxFact the longest value of one, in bytes.
	maxMounts = 16
	maxFact   = 200
)

// addFacts says what the agent and its machine are, a few kB in all.
func (a *Agent) addFacts(f *framing.Facts) {
	a.collect(factsGarbage)
	buf := make([]byte, kernelFile)
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		f.Add("kernel", unix.ByteSliceToString(u.Release[:]))
		f.Add("kernel.build", unix.ByteSliceToString(u.Version[:]))
		f.Add("machine", unix.ByteSliceToString(u.Machine[:]))
	}
	f.Add("agent", a.cfg.Version)
	f.Add("pid", num(unix.Getpid()))
	f.Add("uptime", uptime())
	f.Add("memory.total_kib", decimal(int64(readFigure(unix.AT_FDCWD, "/proc/meminfo", "MemTotal", buf))))
	for i := range LimitOptions {
		o := &LimitOptions[i]
		f.Add("limit."+o.Name[len("--max-"):], num(*o.field(&a.cfg.Limits)))
	}
	addMounts(f, buf)
	for _, fact := range a.cfg.Facts {
		f.Add(fact[0], clip(fact[1], maxFact))
	}
	contained := "process group and /proc"
	if a.contain.path != "" {
		contained = "cgroup"
	}
	f.Add("contained", contained)
	degraded := func(name, reason string, is bool) {
		if is {
			f.Add("degraded."+name, clip(reason, maxFact))
		}
	}
	degraded("cgroup", a.contain.reason, a.contain.path == "")
	degraded("pids", a.contain.noPids, a.contain.noPids != "")
	degraded("memory", a.contain.noMemory, a.contain.noMemory != "")
	degraded("psi", a.stalls.reason, a.stalls.reason != "")
	degraded("oom", a.oom.reason, !a.oom.lowered)
	degraded("pinned", a.unpinned, a.unpinned != "")
}

// addMounts says what is mounted, the first of it; proc_pid_mountinfo(5):
//
//	36 35 98:0 / /srv rw,noatime shared:1 - ext4 /dev/vdc rw
func addMounts(f *framing.Facts, buf []byte) {
	n, _ := readFile("/proc/self/mountinfo", buf)
	for text, left := string(buf[:n]), maxMounts; text != "" && left > 0; left-- {
		var line, where, options, kind string
		line, text, _ = cut(text, '\n')
		for range 4 { // ids, device and root
			_, line, _ = cut(line, ' ')
		}
		where, line, _ = cut(line, ' ')
		options, line, _ = cut(line, ' ')
		for word := ""; word != "-" && line != ""; {
			word, line, _ = cut(line, ' ')
		}
		kind, _, _ = cut(line, ' ')
		f.Add("mount."+clip(where, maxFact), kind+" "+clip(options, maxFact))
	}
}

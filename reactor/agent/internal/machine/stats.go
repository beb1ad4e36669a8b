package machine

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// stats handles a stats.
func (s *Service) stats(c *wire.Conn, p *framing.Part) error {
	var f framing.Figures
	s.addFigures(&f)
	c.ReplyLater(framing.AppendFigures(nil, p.Seq, f))
	return nil
}

// addFigures adds what the machine and the agent use. It leaves out what cannot be read.
func (s *Service) addFigures(f *framing.Figures) {
	s.Garbage.Collect(statsGarbage)
	buf := make([]byte, sys.KernelFile)
	sys.ReadFigures(unix.AT_FDCWD, "/proc/meminfo", buf, func(name string, kib uint64) {
		for _, m := range [...][2]string{
			{"MemTotal", "memory.total"}, {"MemFree", "memory.free"},
			{"MemAvailable", "memory.available"},
			{"SwapTotal", "swap.total"}, {"SwapFree", "swap.free"},
		} {
			if m[0] == name {
				f.Add(m[1], kib<<10)
			}
		}
	})
	addLoad(f, buf)
	addProcessors(f, buf)
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) == nil {
		f.Add("uptime", uint64(t.Nano()/1e3))
	}
	var disk unix.Statfs_t
	if unix.Statfs("/", &disk) == nil {
		block := uint64(disk.Frsize) // Bsize is the preferred I/O size; statvfs(3)
		f.Add("disk.total", disk.Blocks*block)
		f.Add("disk.free", disk.Bavail*block)
		f.Add("disk.files", disk.Files)
		f.Add("disk.files_free", disk.Ffree)
	}
	sys.ReadFigures(unix.AT_FDCWD, "/proc/self/status", buf, func(name string, kib uint64) {
		switch name {
		case "VmRSS":
			f.Add("agent.rss", kib<<10)
		case "RssAnon":
			f.Add("agent.anon", kib<<10)
		}
	})
	s.AddFigures(f)
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) == nil {
		f.Add("agent.cpu", uint64(used.Utime.Nano()+used.Stime.Nano())/1e3)
	}
	f.Add("epoch", s.restores.epoch)
	s.addDelays(f, buf)
	addStalls(f, buf)
	addInterfaces(f, buf)
	addBlockDevices(f, buf)
}

// addLoad adds the figures of /proc/loadavg: "0.20 0.18 0.12 1/80 11206". The kernel counts each
// thread as a process there.
func addLoad(f *framing.Figures, buf []byte) {
	text := sys.ReadText("/proc/loadavg", buf)
	for _, name := range [...]string{"load.1", "load.5", "load.15"} {
		hundredths, rest, ok := sys.TakeHundredths(text)
		if !ok {
			return
		}
		f.Add(name, hundredths*10)
		text = rest
	}
	_, text, _ = sys.Cut(text, '/')
	if n, _, ok := sys.TakeNumber(text); ok {
		f.Add("processes", n)
	}
}

// tick is USER_HZ, the unit of processor time in /proc, in µs. It is 100 Hz on every supported
// architecture.
const tick = 10_000

// addProcessors adds the first line of /proc/stat, which sums up all processors; proc_stat(5):
//
//	cpu  user nice system idle iowait irq softirq steal guest guest_nice
func addProcessors(f *framing.Figures, buf []byte) {
	_, text, _ := sys.Cut(sys.ReadText("/proc/stat", buf[:512]), ' ')
	var t [8]uint64
	for i := range t {
		n, rest, ok := sys.TakeNumber(text)
		if !ok {
			return
		}
		t[i], text = n*tick, rest
	}
	f.Add("cpu.user", t[0]+t[1])
	f.Add("cpu.system", t[2]+t[5]+t[6])
	f.Add("cpu.idle", t[3]+t[4])
	f.Add("cpu.steal", t[7])
}

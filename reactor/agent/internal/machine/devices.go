package machine

import (
	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// maxDevices is the most network interfaces, and the most block devices, among the figures.
const maxDevices = 16

// addInterfaces adds the lines of /proc/net/dev, without that of lo; proc_pid_net(5):
//
//	eth0: 1296 12 0 0 0 0 0 0  876 10 0 0 0 0 0 0
func addInterfaces(f *framing.Figures, buf []byte) {
	names := [16]string{
		0: ".rx_bytes", 1: ".rx_packets", 2: ".rx_errors", 3: ".rx_dropped",
		8: ".tx_bytes", 9: ".tx_packets", 10: ".tx_errors", 11: ".tx_dropped",
	}
	left := maxDevices
	eachLine("/proc/net/dev", buf, func(line string) {
		name, numbers, ok := sys.Cut(skipBlanks(line), ':')
		if !ok || name == "lo" || left == 0 {
			return
		}
		left--
		addNumbers(f, "net."+name, names[:], numbers, 1)
	})
}

// sector is the unit of the figures of block devices, in bytes, whatever the size of their
// sectors.
const sector = 512

// addBlockDevices adds the lines of /proc/diskstats of the devices that were used;
// Documentation/admin-guide/iostats.rst:
//
//	254 0 vda 1200 3 45678 210 50 2 800 12 0 300 222
func addBlockDevices(f *framing.Figures, buf []byte) {
	names := [10]string{0: ".reads", 2: ".read_bytes", 4: ".writes", 6: ".write_bytes", 9: ".busy"}
	left := maxDevices
	eachLine("/proc/diskstats", buf, func(line string) {
		_, line, _ = sys.TakeNumber(line)
		_, line, _ = sys.TakeNumber(line)
		name, numbers, _ := sys.Cut(skipBlanks(line), ' ')
		if reads, _, ok := sys.TakeNumber(numbers); !ok || reads == 0 || left == 0 {
			return
		}
		left--
		addNumbers(f, "block."+name, names[:], numbers, sector)
	})
}

// addNumbers adds the numbers that have a name, each with the prefix. Sectors become bytes, and
// milliseconds microseconds.
func addNumbers(f *framing.Figures, prefix string, names []string, numbers string, unit uint64) {
	for _, name := range names {
		n, rest, ok := sys.TakeNumber(numbers)
		if !ok {
			return
		}
		numbers = rest
		switch name {
		case "":
			continue
		case ".read_bytes", ".write_bytes":
			n *= unit
		case ".busy":
			n *= 1000
		}
		f.Add(prefix+name, n)
	}
}

// eachLine calls use with each whole line of a kernel file, of as many as fit into buf.
func eachLine(path string, buf []byte, use func(line string)) {
	n, err := sys.ReadFile(path, buf)
	if err != nil {
		return
	}
	for text := string(buf[:n]); ; {
		line, rest, ok := sys.Cut(text, '\n')
		if !ok {
			return
		}
		use(line)
		text = rest
	}
}

func skipBlanks(s string) string {
	for s != "" && s[0] == ' ' {
		s = s[1:]
	}
	return s
}

// addStalls adds what the kernel says about stalls: hundredths of a percent of the last 10 s, and
// all time in microseconds. The first line is about some tasks, the second about all.
//
//	some avg10=0.00 avg60=0.00 avg300=0.00 total=0
//	full avg10=0.00 avg60=0.00 avg300=0.00 total=0
func addStalls(f *framing.Figures, buf []byte) {
	for i, resource := range [...]string{framing.PressureMemory: "memory", framing.PressureCPU: "cpu", framing.PressureIO: "io"} {
		eachLine(pressureFiles[i], buf[:512], func(line string) {
			kind, line, _ := sys.Cut(line, ' ')
			if kind == "full" && i == int(framing.PressureCPU) {
				return // always 0
			}
			average, _ := sys.After(line, "avg10=")
			hundredths, _, ok := sys.TakeHundredths(average)
			text, _ := sys.After(line, "total=")
			total, _, found := sys.TakeNumber(text)
			if ok && found {
				f.Add("psi."+resource+"."+kind, hundredths)
				f.Add("psi."+resource+"."+kind+"_total", total)
			}
		})
	}
}

// addDelays adds how long hosts had to wait for the agent, in microseconds. loop.delay is the
// longest turn of its loop since it was last asked for. loop.wait is how long its thread was
// ready to run and had no processor.
func (s *Service) addDelays(f *framing.Figures, buf []byte) {
	f.Add("loop.delay", uint64(s.Loop.LongestTurn().Microseconds()))
	// Documentation/scheduler/sched-stats.rst: time on the processor, time waited, slices.
	_, text, ok := sys.TakeNumber(sys.ReadText("/proc/thread-self/schedstat", buf[:128]))
	if waited, _, found := sys.TakeNumber(text); ok && found {
		f.Add("loop.wait", waited/1000)
	}
}

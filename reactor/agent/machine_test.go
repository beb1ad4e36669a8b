package agent

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/contain"
	"wick/reactor/agent/internal/sys"
)

// facts says hello and returns what the guest says of itself.
func (h *host) facts(seq uint32) (framing.HelloResult, map[string]string) {
	h.Helper()
	h.send(framing.AppendHello(nil, seq, 7))
	payload := h.want(framing.TypeHelloResult, seq)
	if len(payload) > 8<<10 {
		h.Errorf("a hello_result of %d bytes", len(payload))
	}
	var r framing.HelloResult
	if err := framing.ParseHelloResult(payload, &r); err != nil {
		h.Fatal(err)
	}
	facts := map[string]string{}
	for name, value := range r.Facts.All {
		if _, twice := facts[string(name)]; twice && !bytes.HasPrefix(name, []byte("mount.")) { // where more than one is mounted
			h.Errorf("%s is there twice", name)
		}
		facts[string(name)] = string(value)
	}
	return r, facts
}

func TestFacts(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.limits.Commands = 17
	b.start()
	t.Cleanup(b.stop)
	b.do(func(a *Agent) {
		a.cfg.Version = "1.2.3"
		a.cfg.Facts = [][2]string{{"boot.overlay disk", "1us took 2us"}, {"degraded./sys", strings.Repeat("x", 1000)}}
		m := &a.contain.Missing
		m.Pids, m.Memory, m.PSI = "for a test", "for a third", "for a fourth"
		a.unpinned = "for another"
	})
	h := b.dial()
	r, facts := h.facts(1)
	if r.Version != framing.Version || r.Epoch != 0 {
		t.Errorf("%+v", r)
	}
	if r.Features&framing.FeatureStats == 0 || r.Features&(framing.FeatureFreeze|framing.FeaturePower) != 0 ||
		r.Features&framing.FeatureRestore != 0 != (os.Geteuid() == 0) {
		t.Errorf("features %b", r.Features)
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"kernel": strings.TrimSpace(string(release)), "agent": "1.2.3", "pid": sys.Num(os.Getpid()),
		"limit.commands": "17", "limit.pids": sys.Num(contain.DefaultPids()), "boot.overlay disk": "1us took 2us", "degraded./sys": strings.Repeat("x", maxFact),
		"degraded.pinned": "for another", "degraded.pids": "for a test", "degraded.memory": "for a third", "degraded.psi": "for a fourth",
	} {
		if facts[name] != want {
			t.Errorf("%s is %q, want %q", name, facts[name], want)
		}
	}
	for _, name := range []string{"machine", "uptime", "memory.total_kib", "mount./", "contained"} {
		if facts[name] == "" {
			t.Errorf("no %s", name)
		}
	}
	// The tables of a kernel can be long.
	mounts := 0
	for name := range facts {
		if strings.HasPrefix(name, "mount.") {
			mounts++
		}
	}
	if mounts > maxMounts {
		t.Errorf("%d mounts", mounts)
	}
}

// figures asks for stats.
func (h *host) figures(seq uint32) map[string]uint64 {
	h.Helper()
	h.send(framing.AppendFrame(nil, framing.TypeStats, seq, nil))
	f, err := framing.ParseFigures(h.want(framing.TypeFigures, seq))
	if err != nil {
		h.Fatal(err)
	}
	figures := map[string]uint64{}
	for name, value := range f.All {
		figures[string(name)] = value
	}
	return figures
}

func TestStats(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	h, other := b.dial(), b.dial()
	h.extend()
	path, gate := b.fifo("gate")
	other.exec(1, "head -c 300000 /dev/zero; read x < "+path)
	b.until("spooled", func(a *Agent) bool { return a.spooled == 300000 })
	got := h.figures(1)
	for _, name := range strings.Fields(`memory.total memory.available memory.free swap.total swap.free load.1 load.5 load.15 uptime
		disk.total disk.free disk.files disk.files_free cpu.user cpu.system cpu.idle cpu.steal processes agent.rss agent.anon
		agent.connections agent.commands agent.spooled agent.cpu epoch`) {
		if _, ok := got[name]; !ok {
			t.Errorf("no %s", name)
		}
	}
	for name, want := range map[string]uint64{"agent.connections": 2, "agent.commands": 1, "agent.spooled": 300000, "epoch": 0} {
		if got[name] != want {
			t.Errorf("%s is %d, want %d", name, got[name], want)
		}
	}
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err != nil {
		t.Fatal(err)
	}
	if total := uint64(s.Totalram) * uint64(s.Unit); got["memory.total"] != total {
		t.Errorf("memory.total is %d, want %d", got["memory.total"], total)
	}
	if up := uint64(s.Uptime) * 1e6; got["uptime"] > up+1e6 || got["uptime"]+60e6 < up {
		t.Errorf("uptime is %d, want about %d", got["uptime"], up)
	}
	var disk unix.Statfs_t
	if err := unix.Statfs("/", &disk); err != nil {
		t.Fatal(err)
	}
	if got["disk.total"] != disk.Blocks*uint64(disk.Bsize) || got["disk.free"] == 0 || got["disk.files_free"] > got["disk.files"] {
		t.Errorf("disk: %v", got)
	}
	if got["memory.available"] > got["memory.total"] || got["agent.anon"] > got["agent.rss"] || got["agent.rss"] == 0 || got["processes"] == 0 ||
		got["cpu.user"] == 0 || got["cpu.idle"] == 0 || got["agent.cpu"] == 0 {
		t.Errorf("%v", got)
	}
	// Load is a number with two decimals, in thousandths.
	if got["load.1"]%10 != 0 {
		t.Errorf("load.1 is %d", got["load.1"])
	}
	gate.WriteString("\n")
	other.result(1)
}

// TestPressure stalls this very machine: many processes that only calculate, on fewer processors.
func TestPressure(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(pressureFiles[framing.PressureCPU]); err != nil {
		t.Skip("a kernel that tells of pressure (CONFIG_PSI, psi=1):", err)
	}
	b := startBox(t)
	h := b.dial()
	h.extend()
	ask := func(seq uint32, p framing.Pressure) {
		h.send(framing.AppendPressure(nil, seq, p))
	}
	h.send(framing.AppendPressure(nil, 1, framing.Pressure{Resource: 3, StallUS: 1000, WindowUS: 2000000}))
	h.wantDone(1, unix.EINVAL)
	ask(2, framing.Pressure{StallUS: 1000, WindowUS: 499999})
	h.wantDone(2, unix.EINVAL)
	ask(3, framing.Pressure{StallUS: 2000001, WindowUS: 2000000})
	h.wantDone(3, unix.EINVAL)
	// Windows are multiples of 2 s for who is not root.
	for seq := range uint32(maxPressures) {
		ask(10+seq, framing.Pressure{Resource: framing.PressureMemory, StallUS: 2000000, WindowUS: 2000000})
		h.wantDone(10+seq, 0)
	}
	ask(4, framing.Pressure{Resource: framing.PressureIO, StallUS: 1000, WindowUS: 2000000})
	h.wantDone(4, unix.EMFILE)
	ask(10, framing.Pressure{Resource: framing.PressureIO, StallUS: 1000, WindowUS: 2000000})
	h.want(framing.TypeError, 10) // in use
	for seq := range uint32(maxPressures) {
		h.send(framing.AppendClose(nil, 10+seq, framing.StreamInput))
	}
	h.ping(5)
	b.do(func(a *Agent) {
		if a.watched != 0 || len(a.conns[0].ext.channels) != 0 {
			t.Errorf("%d watched, %d channels", a.watched, len(a.conns[0].ext.channels))
		}
	})

	ask(20, framing.Pressure{Resource: framing.PressureCPU, StallUS: 10000, WindowUS: 2000000})
	h.wantDone(20, 0)
	load := b.dial()
	load.exec(1, "n=$(nproc); n=$((2*n+2)); while [ $n -gt 0 ]; do (while :; do :; done) & n=$((n-1)); done; wait")
	for range 2 {
		f, err := framing.ParseFigures(h.want(framing.TypeFigures, 20))
		if err != nil || f.Len() != 3 {
			t.Fatal(f, err)
		}
		figures := map[string]uint64{}
		for name, value := range f.All {
			figures[string(name)] = value
		}
		if figures["pressure.total"] == 0 || figures["pressure.avg10"] > 10000 || figures["pressure.avg60"] > 10000 {
			t.Errorf("%v", figures)
		}
	}
	// What means nothing to it.
	h.send(framing.AppendFrame(nil, framing.TypeInput, 20, nil))
	h.send(framing.AppendCredit(nil, 20, framing.StreamOutput, 1))
	h.send(framing.AppendResize(nil, 20, 1, 1))
	b.do(func(a *Agent) { a.conns[0].ext.channels[0].channel.(*pressure).Ready(1 << 7) }) // told of nothing it knows: the figures of now
	h.want(framing.TypeFigures, 20)
	b.do(func(a *Agent) { a.conns[0].ext.channels[0].channel.(*pressure).over() })
	if s, err := framing.ParseClose(h.want(framing.TypeClose, 20)); err != nil || s != framing.StreamOutput {
		t.Error(s, err)
	}
	b.do(func(a *Agent) {
		for _, cmd := range a.commands {
			a.contain.Kill(nil, cmd.pid)
		}
	})
	load.result(1)
	// Lost with its connection.
	ask(22, framing.Pressure{Resource: framing.PressureCPU, StallUS: 2000000, WindowUS: 2000000})
	h.wantDone(22, 0)
	h.Close()
	b.until("lost", func(a *Agent) bool { return a.watched == 0 })
}

// TestMachineRequests are those that this agent cannot or may not do, and those that make no sense.
func TestMachineRequests(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	h := b.dial()
	h.send(framing.AppendFrame(nil, framing.TypeStats, 1, nil))
	h.want(framing.TypeError, 1) // unknown before a hello
	h.extend()
	h.freeze(2, time.Second)
	h.wantDone(2, unix.EOPNOTSUPP)
	h.thaw(3)
	h.wantDone(3, unix.EOPNOTSUPP)
	h.send(framing.AppendPower(nil, 4, framing.PowerOff, 0))
	h.wantDone(4, unix.EPERM)
	for _, typ := range []framing.Type{framing.TypePressure, framing.TypeRestore, framing.TypeFreeze, framing.TypePower} {
		h.send(framing.AppendFrame(nil, typ, 5, []byte{1}))
		h.want(framing.TypeError, 5)
	}
	// The last piece of a long one is not taken for the whole.
	long := framing.AppendFrame(nil, framing.TypeFreeze, 6, bytes.Repeat([]byte{0}, 100<<10))
	h.send(long)
	h.want(framing.TypeError, 6)
	h.ping(7)
}

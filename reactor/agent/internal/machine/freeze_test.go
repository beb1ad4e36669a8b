package machine

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/roomtest"
)

// freezeRoom makes a service that may freeze the file system of a directory, where the kernel
// lets it. Its jobs say at the gate's word that they have frozen, and freeze nothing.
func freezeRoom(t *testing.T) (r *room, gate *os.File) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("run as root: no other user may thaw a file system")
	}
	dir, err := unix.Open(t.TempDir(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(dir) })
	r = newRoom(t)
	path, gate := r.Fifo()
	r.job("read x < " + path + "; eval \"$x\"")
	r.Do(func() { r.s.FreezeFD = dir })
	return r, gate
}

func freeze(seq, ms uint32) []byte { return framing.AppendFreeze(nil, seq, ms, 0) }

// held waits until the disk is held, or is not, and in the latter case no job runs.
func (r *room) held(want bool) {
	r.Helper()
	r.Until("the disk is held, or is not", func() bool {
		return (r.holds == 1) == want && (want || !r.s.freezer.child.Running())
	})
}

// TestFreezing has a freeze called off, fail, and lose its host while a child is at it.
func TestFreezing(t *testing.T) {
	t.Parallel()
	r, gate := freezeRoom(t)
	h, other := r.Dial(), r.Dial()
	h.Send(freeze(1, 60_000))
	other.Ping(1)
	r.held(true)
	other.Send(freeze(2, 60_000))
	other.WantDone(2, unix.EBUSY)
	h.Send(append(roomtest.Frame(framing.TypeThaw, 3), roomtest.Frame(framing.TypeThaw, 4)...))
	h.WantDone(4, unix.EINVAL)
	gate.WriteString("printf .; exec sleep 1000\n")
	h.WantDone(1, unix.ECANCELED)
	h.WantDone(3, 0)
	r.held(false)

	for script, errno := range map[string]unix.Errno{"exit 5\n": unix.EIO, "exit 0\n": unix.ETIMEDOUT, "kill -9 $$\n": unix.EINTR} {
		gate.WriteString(script)
		h.Send(freeze(5, 60_000))
		h.WantDone(5, errno)
		r.held(false)
	}

	// Neither the freeze's host nor the thaw's is there to be answered.
	h.Send(freeze(6, 60_000))
	r.held(true)
	other.Send(roomtest.Frame(framing.TypeThaw, 7))
	other.Ping(8)
	h.Close()
	other.Close()
	r.Lost(0)
	gate.WriteString("printf .; exec sleep 1000\n")
	r.held(false)

	h = r.Dial()
	r.Do(func() { r.Jobs.Command = []string{"/nonexistent"} })
	h.Send(freeze(9, 1))
	h.WantDone(9, unix.ENOENT)
	r.held(false)
}

// TestThawFails has a file system that cannot be thawed. A host that asks is told so, and the
// disk is held until it can be thawed.
func TestThawFails(t *testing.T) {
	t.Parallel()
	r, gate := freezeRoom(t)
	nothing, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0) // no ioctl(2) takes it
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(nothing)
	var dir int
	r.Do(func() { dir, r.s.FreezeFD = r.s.FreezeFD, nothing })
	h := r.Dial()
	h.Send(append(freeze(1, 60_000), roomtest.Frame(framing.TypeThaw, 2)...))
	h.Ping(3)
	gate.WriteString("printf .; exec sleep 1000\n")
	h.WantDone(1, unix.ECANCELED)
	h.WantDone(2, unix.EBADF)
	h.Send(roomtest.Frame(framing.TypeThaw, 4))
	h.WantDone(4, unix.EBADF)
	h.Send(freeze(5, 60_000))
	h.WantDone(5, unix.EBUSY)
	r.Do(func() { r.s.freezer.child.SignalGroup(unix.SIGKILL) })
	r.Until("the child is gone", func() bool { return !r.s.freezer.child.Running() })
	r.held(true)
	r.Do(func() { r.s.FreezeFD = dir })
	h.Send(roomtest.Frame(framing.TypeThaw, 7))
	h.WantDone(7, 0)
	r.held(false)
}

// TestTooManyShutdowns has more shutdowns than may wait for their sync. One too many is refused.
func TestTooManyShutdowns(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	path, f := r.Fifo()
	r.job("read x < " + path)
	h := r.Dial()
	for seq := range uint32(maxSyncs + 2) {
		h.Send(roomtest.Frame(framing.TypeShutdown, seq))
	}
	h.WantError(maxSyncs+1, "too many shutdowns") // one runs, 256 wait
	h.Ping(1)
	f.WriteString("\n\n")
	for seq := range uint32(maxSyncs + 1) {
		h.Want(framing.TypeShutdownAck, seq)
	}
}

// TestPressureEnds ends watches of pressure: by the host, by the kernel, and with their
// connection.
func TestPressureEnds(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	h := r.Dial()
	ask := func(seq uint32, resource framing.PressureResource, errno unix.Errno) {
		t.Helper()
		h.Send(framing.AppendPressure(nil, seq, framing.Pressure{Resource: resource, StallUS: 2000000, WindowUS: 2000000}))
		h.WantDone(seq, errno)
	}
	watched := func(want int) {
		t.Helper()
		r.Until("as many are watched", func() bool { return r.s.pressures == want })
	}
	ask(1, 3, unix.EINVAL)
	if _, err := os.Stat(pressureFiles[framing.PressureCPU]); err != nil {
		t.Skip("a kernel that tells of pressure (CONFIG_PSI, psi=1):", err)
	}
	for seq := range uint32(3) {
		ask(seq, framing.PressureMemory, 0)
	}
	h.Send(roomtest.Close(0, framing.StreamInput))
	watched(2)
	// Frames that mean nothing to it are ignored. An event that it does not know makes it send
	// figures.
	h.Send(roomtest.Input(1, nil))
	h.Send(framing.AppendResize(nil, 1, 1, 1))
	r.Do(func() { r.Server.All()[0].Channel(1).(*pressure).Ready(1 << 7) })
	h.Want(framing.TypeFigures, 1)
	r.Do(func() { r.Server.All()[0].Channel(1).(*pressure).Ready(reactor.HungUp) })
	if s, err := framing.ParseClose(h.Want(framing.TypeClose, 1)); err != nil || s != framing.StreamOutput {
		t.Errorf("close of stream %d, %v, want %d", s, err, framing.StreamOutput)
	}
	watched(1)
	h.Close()
	watched(0)
}

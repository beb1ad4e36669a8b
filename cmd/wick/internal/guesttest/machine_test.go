package guesttest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/bench/budget"
	"wick/framing"
	"wick/framing/client"
	"wick/framing/wiretest"
)

// TestMachine has a host query and control the machine.
func TestMachine(t *testing.T) {
	t.Parallel()
	s := serve(t, needFixture(t))
	s.all(t, []servedTest{
		{"facts", testFacts},
		{"restore", testRestore},
		{"restore seen", testRestoreSeen},
		{"pressure", testPressure},
		{"receipts", testReceipts},
		{"figures of one command", testFiguresAlone},
		{"freeze", testFreeze},
		{"power off", testPowerOff},
	})
}

// extended connects and says hello.
func (s *served) extended(t *testing.T) *raw {
	t.Helper()
	r := dialRaw(t, s.UDS(), "1000")
	r.want(wiretest.Ready, 0, "")
	r.hello()
	return r
}

// be returns numbers in the byte order of the wire.
func (r *raw) ask(kind byte, seq uint32, values ...any) {
	r.t.Helper()
	r.write(wiretest.Make(kind, seq, values...))
}

// hello asks for the extension.
func (r *raw) hello() (features uint32, epoch uint64, facts map[string]string) {
	r.t.Helper()
	r.ask(wiretest.Hello, 0, 1)
	f := r.parse(wiretest.HelloResult, 0)
	if f.Int("version") != 1 {
		r.t.Fatalf("hello is answered with version %d", f.Int("version"))
	}
	facts = map[string]string{}
	for _, fact := range f.List("facts") {
		facts[fact.Text("name")] = fact.Text("value")
	}
	return uint32(f.Int("features")), f.Get("epoch").Number, facts
}

// done reads a done.
func (r *raw) done(seq uint32) (errno unix.Errno, value uint64, reason string) {
	r.t.Helper()
	f := r.parse(wiretest.Done, seq)
	return unix.Errno(f.Int("errno")), f.Get("value").Number, f.Text("reason")
}

// wantDone reads a done with that errno.
func (r *raw) wantDone(seq uint32, want unix.Errno) (value uint64) {
	r.t.Helper()
	errno, value, reason := r.done(seq)
	if errno != want {
		r.t.Fatalf("seq %d: %v, %s; want %v", seq, errno, reason, want)
	}
	return value
}

// figures reads figures.
func (r *raw) figures(seq uint32) map[string]uint64 {
	r.t.Helper()
	figures := map[string]uint64{}
	for _, figure := range r.parse(wiretest.Figures, seq).List("figures") {
		figures[figure.Text("name")] = figure.Get("value").Number
	}
	return figures
}

func testFacts(t *testing.T, s *served) {
	r := dialRaw(t, s.UDS(), "1000")
	r.want(wiretest.Ready, 0, "")
	features, epoch, facts := r.hello()
	const machine = framing.FeatureStats | framing.FeaturePressure | framing.FeatureRestore | framing.FeatureFreeze | framing.FeaturePower
	if framing.Features(features)&machine != machine || epoch != 0 {
		t.Errorf("features %b, epoch %d", features, epoch)
	}
	shell := func(command string) string { return strings.TrimSpace(run(t, s.conn, command)) }
	for name, want := range map[string]string{
		"pid": "1", "kernel": shell("uname -r"), "machine": shell("uname -m"), "limit.commands": "256", "contained": "cgroup",
		"memory.total_kib": shell("sed -n 's/MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo"), "mount./": "overlay rw,noatime",
	} {
		if facts[name] != want {
			t.Errorf("%s is %q, want %q", name, facts[name], want)
		}
	}
	for name := range facts {
		if strings.HasPrefix(name, "degraded.") {
			t.Errorf("%s: %s", name, facts[name])
		}
	}
	if !strings.Contains(facts["boot.overlay disk"], "us took ") || facts["agent"] == "" {
		t.Errorf("the boot, or the version, is missing: %v", facts)
	}
	r.ask(wiretest.Stats, 1, "")
	f := r.figures(1)
	if f["memory.total"] < 64<<20 || f["memory.available"] == 0 || f["disk.total"] < 100<<20 || f["cpu.user"] == 0 || f["agent.rss"] == 0 ||
		f["agent.rss"] > budget.InitWorkedRSS<<10 || f["agent.connections"] < 2 || f["uptime"] == 0 || f["processes"] == 0 {
		t.Errorf("stats: %v", f)
	}
	t.Logf("%d facts, %v", len(facts), f)
}

// testRestore has a host set the clock to years from now. Running timeouts must not change.
func testRestore(t *testing.T, s *served) {
	r := s.extended(t)
	_, before, _ := r.hello()
	run(t, s.conn, "mkfifo /run/gate")
	waits := func() (wait func()) {
		ctx := deadline(t, 2*stepLimit)
		done := make(chan string, 1)
		go func() {
			res, err := s.conn.Exec(ctx, client.Exec{Command: "read x </run/gate; exit 7", Timeout: stepLimit})
			done <- fmt.Sprint(res.ExitCode, err)
		}()
		return func() {
			if got := <-done; got != "7 <nil>" {
				t.Errorf("the command that ran meanwhile: %s", got)
			}
		}
	}()
	const year = 365 * 24 * 3600
	now := uint64(time.Now().Unix()) + 10*year
	r.ask(wiretest.Restore, 1, now*1e9, strings.Repeat("entropy!", 64))
	if epoch := r.wantDone(1, 0); epoch != before+1 {
		t.Errorf("epoch %d, was %d", epoch, before)
	}
	got, err := strconv.ParseUint(strings.TrimSpace(run(t, s.conn, "date +%s")), 10, 64)
	if err != nil || got < now || got > now+year {
		t.Errorf("the guest's clock says %d, was set to %d: %v", got, now, err)
	}
	// Set it back, or checks of the disk would find it to be from the future.
	r.ask(wiretest.Restore, 2, uint64(time.Now().UnixNano()), "")
	r.wantDone(2, 0)
	r.ask(wiretest.Restore, 3, 0, strings.Repeat("x", 513))
	r.wantDone(3, unix.EINVAL)
	run(t, s.conn, "echo >/run/gate; rm /run/gate")
	waits()
	s.console.await(t, "restored from a snapshot", 1)
}

// resetDevice unbinds the vsock device from its driver and binds it again. To the agent this is
// like the restore of a snapshot: the kernel ends every connection with ECONNRESET, in the same
// function.
const resetDevice = `
d=/sys/bus/virtio/drivers/vmw_vsock_virtio_transport
v=$(basename $d/virtio*)
echo $v >$d/unbind
%s
echo $v >$d/bind`

// testRestoreSeen checks that the agent notices a restore by itself, and does not take similar
// events for one.
func testRestoreSeen(t *testing.T, s *served) {
	epoch := func() uint64 {
		t.Helper()
		_, epoch, _ := s.extended(t).hello()
		return epoch
	}
	before := epoch()
	want := func(what string, more uint64) {
		t.Helper()
		s.accept(t)
		if got := epoch(); got != before+more {
			t.Errorf("%s: epoch %d, want %d", what, got, before+more)
		}
		before += more
	}
	// The command ends with its connection, and its result is lost.
	reset := func(meanwhile string) {
		t.Helper()
		old := s.conn
		old.Exec(deadline(t, stepLimit), client.Exec{Command: fmt.Sprintf(resetDevice, meanwhile)})
		<-old.Done()
	}
	reset("date -s @$(($(date +%s) + 3600))")
	want("the device was reset, and the clock set", 1)
	s.console.await(t, `restored from a snapshot by="resets and clock" clock=left`, 1)
	r := s.extended(t)
	for n := range uint64(2) { // the restore that was noticed, and one more
		r.ask(wiretest.Restore, 1, uint64(time.Now().UnixNano()), "")
		if got := r.wantDone(1, 0); got != before+n {
			t.Errorf("the host tells of restore %d: epoch %d, want %d", n, got, before+n)
		}
	}
	before++
	r.conn.Close()

	reset("")
	want("the device was reset, and the clock let alone", 0)

	old := s.conn
	run(t, s.conn, "date -s @$(($(date +%s) - 3600))")
	if err := s.Reset(); err != nil {
		t.Fatal(err)
	}
	<-old.Done()
	want("the host has ended all connections, and the clock was set", 0)
}

// testFreeze freezes the overlay disk. Reads continue, writes wait, and the disk is as after an
// unmount.
func testFreeze(t *testing.T, s *served) {
	r := s.extended(t)
	writer := func(name string) uint32 {
		return spawn(t, s.conn, "echo "+name+" >/root/"+name+" && echo written")
	}
	written := func(pid uint32) {
		t.Helper()
		if e := exit(t, s.conn, pid); e.ExitCode != 0 || string(e.Stdout) != "written\n" {
			t.Errorf("the writer: exit code %d, stdout %q", e.ExitCode, e.Stdout)
		}
	}
	r.ask(wiretest.Thaw, 1, "")
	r.wantDone(1, unix.EINVAL)
	run(t, s.conn, "mkfifo /run/gate; seq 100000 >/root/before")
	spooled := spawn(t, s.conn, "seq 50000; read x </run/gate; seq 50000; rm -f /root/removed")
	unlinked := spawn(t, s.conn, "seq 50000")
	until(t, s.conn, "[ ! -e /proc/"+strconv.Itoa(int(unlinked))+" ]")

	r.ask(wiretest.Freeze, 2, 60_000)
	r.wantDone(2, 0)
	r.ask(wiretest.Freeze, 3, 60_000)
	r.wantDone(3, unix.EBUSY)
	waits := writer("one")
	// Reading the directory in which a file waits to be made would wait too, because the kernel
	// holds its lock.
	run(t, s.conn, "echo >/run/gate; ls -l / /etc; tail -n 1 /etc/hosts; seq 10000 | tail -n 1; cat /proc/loadavg")
	if e := exit(t, s.conn, unlinked); len(e.Stdout) < 50000 {
		t.Errorf("%d bytes of a command's output that was on the disk", len(e.Stdout))
	}
	r.ask(wiretest.Ping, 4, "")
	r.want(wiretest.Pong, 4, "")
	r.ask(wiretest.WriteFile, 5, "/root/refused", 0, "x")
	r.want(wiretest.WriteFileResult, 5, "\x00"+text("file system is frozen"))
	// All data is written to the disk.
	r.ask(wiretest.Shutdown, 6, "")
	r.want(wiretest.ShutdownAck, 6, "")

	snapshot := filepath.Join(t.TempDir(), "snapshot")
	image, err := os.ReadFile(s.overlay)
	if err == nil {
		err = os.WriteFile(snapshot, image, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	// There is no journal to replay. As at any mount, files that were open without a name are
	// cleared, such as the output of a command.
	if out, err := e2fs(t, "e2fsck", "-f", "-p", snapshot); err != nil && err.Error() != "exit status 1" || strings.Contains(out, "recovering") {
		t.Errorf("e2fsck -fp: %v\n%s", err, out)
	}
	wantClean(t, snapshot)
	if got := onDisk(t, snapshot, "/root/before"); len(got) != 588895 {
		t.Errorf("%d bytes of a file on the disk", len(got))
	}

	r.ask(wiretest.Thaw, 7, "")
	r.wantDone(7, 0)
	written(waits)
	if e := exit(t, s.conn, spooled); e.ExitCode != 0 || len(e.Stdout) != 2*288894 {
		t.Errorf("exit code %d, %d bytes of output", e.ExitCode, len(e.Stdout))
	}
	if got := onDisk(t, snapshot, "/root/one"); strings.HasPrefix(got, "one") {
		t.Error("what was written while it was frozen is on the disk")
	}

	// No host thaws it. The watchdog does, and also if the host is gone.
	r.ask(wiretest.Freeze, 8, 500)
	r.wantDone(8, 0)
	written(writer("two"))
	s.console.await(t, "freeze timed out", 1)
	r.ask(wiretest.Freeze, 9, 500)
	r.wantDone(9, 0)
	r.conn.Close()
	written(writer("three"))

	// A copy of a frozen machine stays frozen until it is told of its restore.
	r = s.extended(t)
	r.ask(wiretest.Freeze, 10, 60_000)
	r.wantDone(10, 0)
	waits = writer("four")
	r.ask(wiretest.Restore, 11, 0, "")
	r.wantDone(11, 0)
	written(waits)
	r.ask(wiretest.Thaw, 12, "")
	r.wantDone(12, unix.EINVAL)
	r.conn.Close()
	run(t, s.conn, "rm /run/gate /root/before /root/one /root/two /root/three /root/four")
}

// testPressure watches the one processor of an overloaded machine.
func testPressure(t *testing.T, s *served) {
	r := s.extended(t)
	r.ask(wiretest.Pressure, 1, 1, 50_000, 500_000)
	r.wantDone(1, 0)
	busy := spawn(t, s.conn, "(while :; do :; done) & (while :; do :; done) & sleep 1000")
	for range 2 {
		if f := r.figures(1); f["pressure.total"] == 0 {
			t.Errorf("pressure: %v", f)
		}
	}
	r.ask(wiretest.Close, 1, 0)
	run(t, s.conn, fmt.Sprintf("kill -9 -%d", busy))
	exit(t, s.conn, busy)
}

// testPowerOff ends the machine while its file system is frozen, a writer waits for it, and a
// process ignores signals.
func testPowerOff(t *testing.T, s *served) {
	r := s.extended(t)
	run(t, s.conn, "echo kept >/root/last; (setsid sh -c \"trap '' TERM; while :; do sleep 1000; done\" &)")
	r.ask(wiretest.Freeze, 1, 60_000)
	r.wantDone(1, 0)
	spawn(t, s.conn, "trap '' TERM; echo late >/root/late")
	// This host gives processes an hour, and leaves. The next request must not wait for that.
	early := s.extended(t)
	early.ask(wiretest.Power, 1, framing.PowerRestart, 3600_000)
	s.console.await(t, "info ending conn=", 1)
	early.conn.Close()
	s.extended(t) // its answer shows that the host has left
	r.ask(wiretest.Power, 2, 3, 0)
	r.wantDone(2, unix.EINVAL)
	r.ask(wiretest.Power, 3, framing.PowerOff, 300)
	r.ask(wiretest.Power, 4, framing.PowerRestart, 0)
	r.wantDone(4, unix.EBUSY)
	r.wantDone(3, 0)
	r.wantEnd()
	s.goneBy("guest-shutdown")
	wantClean(t, s.overlay)
	if got := onDisk(t, s.overlay, "/root/last"); got != "kept\n" {
		t.Errorf("on the disk there is %q", got)
	}
}

// TestRestart ends machines by a reset. The report on the disk to the host must be true.
func TestRestart(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	for _, tt := range []struct {
		name, before string
		want         unix.Errno
		reason       string
	}{
		{"clean", "seq 100000 >/root/last", 0, ""},
		// The kernel itself keeps a file open for writing until the end.
		{"busy", `seq 100000 >/root/last; cd /proc/1/fd; for f in *; do if [ -d $f/upper/root ]; then
			dd if=/dev/zero of=$f/upper/swap bs=1024k count=4 && mkswap $f/upper/swap && swapon $f/upper/swap; fi; done; grep swap /proc/swaps`, 0, ""},
		{"the file system has met an error", "seq 100000 >/root/last; echo for a test >/sys/fs/ext4/vdb/trigger_fs_error",
			unix.EIO, "read-only: remount the overlay disk: structure needs cleaning: its file system has met an error"},
		{"the disk is gone", `echo unwritten >/root/last; v=$(basename $(readlink /sys/block/vdb/device)); echo $v >/sys/bus/virtio/drivers/virtio_blk/unbind`,
			unix.EIO, "flush: flush the overlay disk: input/output error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := usual(t, l)
			v, conn := boot(t, l, c)
			s := &served{vm: v, conn: conn, overlay: c.overlay}
			r := s.extended(t)
			// One file is incomplete by then, and one is written in place.
			for seq, flags := range []framing.WriteFlags{0, framing.WriteInPlace} {
				name := fmt.Sprint("/root/unfinished", seq)
				r.ask(wiretest.Write, uint32(10+seq), flags, 0, 0, 0, 0, name)
				r.want(wiretest.Credit, uint32(10+seq), string(wiretest.Payload(wiretest.Credit, 0, 64<<10)))
				r.ask(wiretest.Input, uint32(10+seq), "content")
			}
			run(t, conn, tt.before)
			r.ask(wiretest.Power, 1, framing.PowerRestart, 0)
			errno, _, reason := r.done(1)
			if errno != tt.want || !strings.HasPrefix(reason, tt.reason) || (reason == "") != (errno == 0) {
				t.Errorf("done says %v, %q", errno, reason)
			}
			r.wantEnd()
			v.gone()
			if tt.want == 0 {
				wantClean(t, c.overlay)
				if got := onDisk(t, c.overlay, "/root/unfinished1"); got != "content" {
					t.Errorf("in place there is %q", got)
				}
				if out, err := e2fs(t, "debugfs", "-R", "ls /upper/root", c.overlay); err != nil || strings.Contains(out, ".wick") || strings.Contains(out, "unfinished0") {
					t.Errorf("what was not whole is on the disk: %v\n%s", err, out)
				}
			}
		})
	}
}

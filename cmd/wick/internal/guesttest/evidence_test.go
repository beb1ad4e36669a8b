package guesttest

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"strings"
	"testing"

	"wick/framing/client"
)

// TestEvidence has a machine tell what has happened in it. The kernel's log tells of the boot.
// Receipts tell what the OOM killer killed, and what a command has written. Last words tell the
// next boot of the end.
func TestEvidence(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	c := usual(t, l)
	v, conn := boot(t, l, c)
	testKernelLog(t, conn)
	testVictims(t, conn)
	testIO(t, conn)
	testDevices(t, conn)
	if facts := lastFacts(t, conn); len(facts) > 0 {
		t.Errorf("the facts of an end before the first boot are %v", facts)
	}
	signal(t, conn, "TERM")
	v.gone()
	wantClean(t, c.overlay)

	v, conn = boot(t, l, c)
	facts := lastFacts(t, conn)
	if facts["cause"] != "signal SIGTERM" || facts["file"] != "/var/log/wick/last.1" || facts["uptime"] == "" || facts["unix"] == "" {
		t.Errorf("the facts of the last end are %v", facts)
	}
	words := run(t, conn, "cat /var/log/wick/last.1; stat -c %a /var/log/wick/last.1; ls /var/log/wick")
	for _, want := range []string{"cause=signal SIGTERM\n", "] evidence \\x5c of a test\n", "Killed process ", "\n600\nlast.1\n"} {
		if !strings.Contains(words, want) {
			t.Errorf("the last words lack %q:\n%s", want, words)
		}
	}
	run(t, conn, "sync")
	v.Kill() // without last words
	v.free()
	v, conn = boot(t, l, c)
	if facts := lastFacts(t, conn); facts["cause"] != "unknown, the machine ended without last words" {
		t.Errorf("the facts after a machine was killed are %v", facts)
	}
	v.Kill()
}

// lastFacts returns the facts of the last end.
func lastFacts(t *testing.T, conn *client.Client) map[string]string {
	t.Helper()
	hello, err := conn.Hello(deadline(t, stepLimit))
	if err != nil {
		t.Fatal(err)
	}
	return maps.Collect(hello.Under("last."))
}

// testKernelLog reads the kernel's log from the boot on, follows it, and floods it.
func testKernelLog(t *testing.T, conn *client.Client) {
	t.Helper()
	var last uint64
	found := 0
	for r, err := range conn.KernelLog(deadline(t, stepLimit), client.KernelLogOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if last > 0 && r.Sequence != last+1 || r.Lost != 0 {
			t.Errorf("record %d, %d lost, after %d", r.Sequence, r.Lost, last)
		}
		last = r.Sequence
		if strings.HasPrefix(r.Text, "Linux version ") || strings.HasPrefix(r.Text, "Command line: ") {
			found++
		}
	}
	if found != 2 {
		t.Errorf("%d of 2 records of the boot are in the kernel's log", found)
	}

	// The kernel takes only a few records of a program at a time, so the test says it until
	// it is heard.
	ctx, cancel := context.WithCancel(deadline(t, stepLimit))
	defer cancel()
	said := make(chan struct{})
	go func() {
		defer close(said)
		for ctx.Err() == nil {
			conn.Exec(ctx, client.Exec{Command: `echo '<11>evidence \ of a test' >/dev/kmsg; sleep 0.2`})
		}
	}()
	for r, err := range conn.KernelLog(ctx, client.KernelLogOptions{New: true, Follow: true}) {
		if errors.Is(err, context.Canceled) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.Level == 3 && r.Facility == 1 && r.Text == `evidence \ of a test` {
			cancel()
		}
	}
	<-said
}

// testVictims has commands killed for want of memory. Their receipts name what was killed.
func testVictims(t *testing.T, conn *client.Client) {
	t.Helper()
	const eat = "a=$(head -c 100000 /dev/zero | tr '\\0' a); while :; do a=$a$a; done"
	victim := regexp.MustCompile(`^process \d+ \(sh\) killed with \d{4,} KiB resident, constraint memcg$`)
	for name, cmd := range map[string]*client.Cmd{
		"the leader": conn.ShellCommand(eat), "a child": conn.Command("sh", "-c", `sh -c "$1"; exit 0`, "sh", eat),
	} {
		ctx := deadline(t, stepLimit)
		if err := cmd.Start(ctx); err != nil {
			t.Fatal(err)
		}
		cmd.Wait(ctx)
		if r := cmd.Receipt(); r == nil || r.Killed == 0 || !victim.MatchString(r.Victim) {
			t.Errorf("%s: the receipt is %+v, want a victim as %v", name, r, victim)
		}
	}
}

// testIO has a command write to a disk and read from one, between others.
func testIO(t *testing.T, conn *client.Client) {
	t.Helper()
	const mib = 1 << 20
	receipt := func(command string, count bool) *client.Receipt {
		t.Helper()
		cmd := conn.ShellCommand(command)
		ctx := deadline(t, stepLimit)
		if count {
			if err := conn.CountIO(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if err := cmd.Start(ctx); err != nil {
			t.Fatal(err)
		}
		r, err := cmd.Wait(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	// A file of its own, because the kernel counts writes for the command that wrote a file
	// first.
	const write = "dd if=/dev/zero of=/root/written$$ bs=1024k count=2 conv=fsync 2>/dev/null"
	const read = "dd if=/dev/vdb of=/dev/null bs=1024k count=3 iflag=direct 2>/dev/null"
	if r := receipt(write, false); r.IO != nil {
		t.Errorf("I/O that was not asked for: %+v", r.IO)
	}
	r := receipt(write+"; "+read, true)
	if io := r.IO; io == nil || io.Written < 2*mib || io.Written > 4*mib || io.Writes == 0 || io.Read < 3*mib || io.Read > 5*mib || io.Reads == 0 {
		t.Errorf("2 MiB written and 3 MiB read: %+v", io)
	}
	if r := receipt("true", true); r.IO == nil || r.IO.Written > mib {
		t.Errorf("I/O of true: %+v", r.IO)
	}
}

// testDevices has figures of what the commands before have read and written.
func testDevices(t *testing.T, conn *client.Client) {
	t.Helper()
	const mib = 1 << 20
	var s *client.Stats
	for range 3 { // turns are measured after the first
		var err error
		if s, err = conn.Stats(deadline(t, stepLimit)); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Get("block.vdb.write_bytes"); n < 4*mib {
		t.Errorf("block.vdb.write_bytes is %d, want 4 MiB", n)
	}
	if n := s.Get("block.vda.read_bytes"); n < mib {
		t.Errorf("block.vda.read_bytes is %d, want 1 MiB", n)
	}
	if delay := s.Get("loop.delay"); delay == 0 {
		t.Error("loop.delay is 0")
	}
	for _, name := range []string{"loop.wait", "psi.cpu.some", "psi.memory.full_total", "psi.io.some"} {
		if _, ok := s.Lookup(name); !ok {
			t.Errorf("there is no %s", name)
		}
	}
}

package workload

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
)

// TestEnds runs workloads that end at once, with each policy.
func TestEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		command, restart string
		lines            []string // after "workload ended"
		facts            map[string]string
	}{
		{"exit 0", "no", []string{"info code=0 restart=no"}, map[string]string{"workload.code": "0", "workload.restarts": "0"}},
		{"exit 0", "on-failure", []string{"info code=0 restart=no"}, nil},
		{"exit 7", "no", []string{"warn code=7 restart=no"}, map[string]string{"workload.code": "7"}},
		{"exit 7", "on-failure", []string{
			`warn code=7 restart="in 0.1s"`, `warn code=7 restart="in 0.2s"`, "warn code=7 restart=no tries=3",
		}, map[string]string{"workload.restarts": "2", "workload.state": "failed"}},
		{"exit 0", "always", []string{
			`info code=0 restart="in 0.1s"`, `info code=0 restart="in 0.2s"`, "info code=0 restart=no tries=3",
		}, nil},
		{"kill -SEGV $$", "no", []string{"warn code=139 signal=SIGSEGV restart=no"}, map[string]string{"workload.code": "139"}},
	} {
		t.Run(c.command+" "+c.restart, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, "--workload=sh:"+c.command, "--workload-restart="+c.restart, "--workload-tries=3")
			for _, want := range c.lines {
				r.line("info workload started pid=")
				level, rest, _ := strings.Cut(want, " ")
				if got := r.line(level + " workload ended "); got != rest {
					t.Errorf("workload ended %s, want %s", got, rest)
				}
			}
			r.wantFacts(c.facts)
			if got := r.facts()["workload.pid"]; got != "" {
				t.Errorf("pid %s after the end", got)
			}
		})
	}
}

// TestNotStarted has a program that is missing, and a user.
func TestNotStarted(t *testing.T) {
	t.Parallel()
	for option, want := range map[string]string{
		"--workload=/no/such":         `code=127 error="exec /no/such: no such file or directory" restart=no`,
		"--workload-user=nonesuch":    `code=126 error="user nonesuch: no such file or directory" restart=no`,
		"--workload-seccomp=/no/such": `code=126 error="open /no/such: no such file or directory" restart=no`,
		"--workload-dir=/no/such":     `code=126 error="chdir /no/such: no such file or directory" restart=no`,
	} {
		t.Run(option, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, "--workload=true", option)
			if got := r.line("warn workload not started "); got != want {
				t.Errorf("workload not started %s, want %s", got, want)
			}
			r.wantFacts(map[string]string{"workload.state": "failed"})
			h := r.Dial()
			h.Send(framing.AppendAttach(nil, 1, &framing.Attach{ID: framing.WorkloadID}))
			h.WantDone(1, unix.ESRCH)
		})
	}
}

// TestAppears has a program that is there at the third try.
func TestAppears(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app")
	r := newRoom(t, "--workload="+path, "--workload-restart=on-failure")
	r.line("warn workload not started ")
	r.line("warn workload not started ")
	if err := os.Symlink("/bin/true", path); err != nil {
		t.Fatal(err)
	}
	r.line("info workload started ")
	if got := r.line("info workload ended "); got != "code=0 restart=no" {
		t.Errorf("workload ended %s", got)
	}
	if got := r.facts()["workload.error"]; got != "" {
		t.Errorf("workload.error is %q after a start", got)
	}
}

// TestSurroundings gives a workload a directory and an environment.
func TestSurroundings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRoom(t, `--workload=sh -c "echo $A; pwd; read x || echo eof"`, "--workload-dir="+dir, "--workload-env=A=a  b")
	r.line("info workload ended ")
	h := r.Dial()
	attach(h, 1, 1<<16)
	if got, e := output(h, 1); got != "a b\n"+dir+"\neof\n" || e.Code != 0 {
		t.Errorf("output %q, %+v", got, e)
	}
}

// TestConfined holds that a workload has no_new_privs and a filter in each of its runs. The filter
// allows everything.
func TestConfined(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "filter")
	if err := os.WriteFile(path, []byte{6, 0, 0, 0, 0, 0, 0xff, 0x7f}, 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRoom(t, "--workload=grep -E ^(NoNewPrivs|Seccomp): /proc/self/status", "--workload-restart=always",
		"--workload-tries=2", "--workload-no-new-privs=yes", "--workload-seccomp="+path)
	r.line("info workload ended code=0 restart=no")
	h := r.Dial()
	attach(h, 1, 1<<16)
	const once = "NoNewPrivs:\t1\nSeccomp:\t2\n"
	if got, e := output(h, 1); got != once+once || e.Code != 0 {
		t.Errorf("output %q, %+v, want %q twice", got, e, once)
	}
}

// TestWaits starts a workload at the first hello alone.
func TestWaits(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "--workload=true", "--workload-wait=host")
	h := r.Dial()
	r.wantFacts(map[string]string{"workload.state": "waiting", "workload.restarts": "0"})
	h.Send(framing.AppendAttach(nil, 1, &framing.Attach{ID: framing.WorkloadID}))
	h.Want(framing.TypeDone, 1)
	r.Do(r.work.HostHere)
	r.Do(r.work.HostHere)
	r.line("info workload started ")
	r.line("info workload ended ")
	r.wantFacts(map[string]string{"workload.restarts": "0", "workload.state": "ended"})
}

// TestAttached has a host attached over a restart. It gets all of the first run, then exited, and
// attaches again for the second.
func TestAttached(t *testing.T) {
	t.Parallel()
	gate := fifo(t)
	r := newRoom(t, "--workload=sh:read x <"+gate+"; seq 30000; exit $x", "--workload-restart=on-failure")
	r.line("info workload started ")
	h := r.Dial()
	if from := attach(h, 1, 1000); from != 0 {
		t.Errorf("attached at %d, want 0", from)
	}
	pass(t, gate, "7\n")
	text, e := output(h, 1)
	if e.Code != 7 || len(text) != 168894 || e.Output != 168894 || e.OutputDropped != 0 {
		t.Errorf("the first run: %d bytes, %+v", len(text), e)
	}
	r.line("info workload started ")
	h.Send(framing.AppendAttach(nil, 2, &framing.Attach{ID: framing.WorkloadID, Output: 168894, OutputCredit: 1 << 16, ErrorsCredit: 1}))
	h.Want(framing.TypeStarted, 2)
	pass(t, gate, "0\n")
	if text, e := output(h, 2); e.Code != 0 || len(text) != 168894 {
		t.Errorf("the second run: %d bytes, %+v", len(text), e)
	}
}

// TestBehind has a host that takes nothing of the first run until the second one has started. The
// outputs of the second go on where those of the first ended.
func TestBehind(t *testing.T) {
	t.Parallel()
	const length = 108894
	gate := fifo(t)
	r := newRoom(t, "--workload=sh:read x <"+gate+"; seq 20000; exit $x", "--workload-restart=on-failure")
	r.line("info workload started ")
	h := r.Dial()
	attach(h, 1, 0)
	pass(t, gate, "1\n")
	r.line("warn workload ended ")
	r.line("info workload started ")
	h.Send(framing.AppendAttach(nil, 2, &framing.Attach{ID: framing.WorkloadID, Output: length}))
	for typ, seq, payload := h.Next(); typ != framing.TypeStarted; typ, seq, payload = h.Next() {
		if seq != 1 {
			t.Fatalf("got %v seq %d %q", typ, seq, payload)
		}
	}
	h.Send(framing.AppendCredit(nil, 1, framing.StreamOutput, length))
	if text, e := output(h, 1); len(text) != length || e.Output != length || e.Code != 1 {
		t.Errorf("the first run: %d bytes, %+v", len(text), e)
	}
}

// TestStalledHost has a host that is attached and takes nothing. It does not hold up a restart, and
// gets an error when it misses a second one.
func TestStalledHost(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "--workload=sh:echo some; exit 1", "--workload-restart=always", "--workload-wait=host")
	h := r.Dial()
	r.Do(r.work.HostHere)
	attach(h, 1, 0)
	for range 3 {
		r.line("info workload started ")
	}
	typ, _, payload := h.Next()
	for typ == framing.TypeClose {
		typ, _, payload = h.Next()
	}
	text, err := framing.ParseError(payload)
	if typ != framing.TypeError || err != nil || string(text) != "process was started again" {
		t.Errorf("got %v %q, %v", typ, text, err)
	}
}

// TestFlood has a workload write without a host, and then a host attach to it. The oldest output is
// dropped and counted.
func TestFlood(t *testing.T) {
	t.Parallel()
	const lines, length = 1_000_000, 6_888_896
	gate := fifo(t)
	r := newRoom(t, "--workload=sh:seq 1000000; echo >"+gate+"; exit 3")
	await(t, gate)
	r.line("warn workload ended ")
	h := r.Dial()
	from := attach(h, 1, 1<<16)
	text, e := output(h, 1)
	if !strings.HasSuffix(text, "\n"+strconv.Itoa(lines)+"\n") || len(text) > 64<<10 {
		t.Errorf("%d bytes that end with %.20q", len(text), text[max(0, len(text)-20):])
	}
	if e.Code != 3 || e.Output != length || e.OutputDropped != from || from+uint64(len(text)) != length {
		t.Errorf("attached at %d, %d bytes, %+v", from, len(text), e)
	}
}

// TestEndless attaches to a workload that writes all the time. The host finds the beginning of what
// is held, and from then on the workload waits for it.
func TestEndless(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "--workload=yes")
	r.line("info workload started ")
	for seq := range uint32(3) {
		h := r.Dial()
		attach(h, seq+1, 1<<16)
		h.Want(framing.TypeOutput, seq+1)
		h.Close()
	}
}

// TestHeldOver has runs that end without a host. A host that comes later gets the output of all.
func TestHeldOver(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "--workload=sh:echo run; exit 1", "--workload-restart=on-failure", "--workload-tries=3")
	for range 3 {
		r.line("warn workload ended ")
	}
	h := r.Dial()
	attach(h, 1, 100)
	if text, e := output(h, 1); text != "run\nrun\nrun\n" || e.Code != 1 {
		t.Errorf("output %q, %+v", text, e)
	}
}

// TestReserved starts a process with the workload's id.
func TestReserved(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	h := r.Dial()
	start := framing.Start{ID: framing.WorkloadID}
	start.Args.Add("true")
	h.Send(framing.AppendStart(nil, 1, &start))
	h.WantError(1, "process id is reserved")
	if facts := r.facts(); len(facts) > 0 {
		t.Errorf("facts %q without a workload", facts)
	}
}

// TestStop stops workloads that run, and one that is to be started again.
func TestStop(t *testing.T) {
	t.Parallel()
	t.Run("running", func(t *testing.T) {
		t.Parallel()
		gate := fifo(t)
		r := newRoom(t, "--workload=sh:trap 'exit 5' USR1; echo >"+gate+"; while :; do sleep 1000 & wait; done",
			"--workload-stop=USR1:1", "--workload-restart=always", "--workload-end=machine")
		await(t, gate)
		r.Do(func() {
			if grace, runs := r.work.Stop(); grace != time.Second+killGrace || !runs {
				t.Errorf("Stop = %v, %v", grace, runs)
			}
		})
		if got := r.line("warn workload ended "); got != "code=5" {
			t.Errorf("workload ended %s", got)
		}
		r.wantFacts(map[string]string{"workload.state": "ended"})
		r.Do(func() {
			if r.work.Running() || r.ends > 0 {
				t.Errorf("running %v, ended the machine %d times", r.work.Running(), r.ends)
			}
		})
	})
	t.Run("stopped", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, "--workload=sh:kill -STOP $$")
		r.line("info workload started ")
		r.Do(func() { r.work.Stop() })
		r.line("warn workload ended code=143 ")
	})
	t.Run("backing off", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, "--workload=false", "--workload-restart=always")
		r.line("warn workload ended ")
		r.Do(func() {
			u := r.work.units[0]
			r.work.Stop()
			if u.timer.Running() || u.state != ended {
				t.Errorf("state %d after Stop", u.state)
			}
		})
	})
}

// TestMachineEnds has workloads end the machine when they are not started again.
func TestMachineEnds(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "--workload=false", "--workload-restart=on-failure", "--workload-tries=2", "--workload-end=machine")
	if got := r.line("warn workload ended "); got != `code=1 restart="in 0.1s"` {
		t.Errorf("workload ended %s", got)
	}
	if got := r.line("warn workload ended "); got != "code=1 restart=no tries=2 end=machine" {
		t.Errorf("workload ended %s", got)
	}
	h := r.Dial()
	var ends int
	var reported bool
	for ends == 0 {
		r.Do(func() { ends, reported = r.ends, r.sessions.AllReported() })
	}
	if ends != 1 || reported {
		t.Errorf("the machine ended %d times; all is reported: %v", ends, reported)
	}
	attach(h, 1, 100)
	if _, e := output(h, 1); e.Code != 1 {
		t.Errorf("exited %+v", e)
	}
	r.Do(func() {
		if !r.sessions.AllReported() {
			t.Error("not all is reported")
		}
	})
}

// TestConsole copies output to the log, and a line of the log does not follow part of a line.
func TestConsole(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "--workload=sh:echo hello; printf partly", "--workload-console=yes", "--workload-restart=always", "--workload-tries=2")
	r.line("hello")
	r.line("partly")
}

// fifo makes a FIFO.
func fifo(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// pass writes a line, which a process of the workload reads.
func pass(t *testing.T, path, line string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(line), 0); err != nil {
		t.Fatal(err)
	}
}

// await waits until a process of the workload has written a line.
func await(t *testing.T, path string) {
	t.Helper()
	if _, err := os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
}

// TestCancelled has a host kill a workload that writes all the time.
func TestCancelled(t *testing.T) {
	t.Parallel()
	gate := fifo(t)
	r := newRoom(t, "--workload=sh:seq 100000; echo >"+gate+"; exec yes")
	await(t, gate)
	h := r.Dial()
	from := attach(h, 1, 1<<16)
	h.Send(framing.AppendSignal(nil, 2, framing.Signal{ID: framing.WorkloadID, Signal: 9, Scope: framing.ScopeTree}))
	text, e := output(h, 1)
	if e.Reason != framing.ReasonCancelled || from == 0 || e.OutputDropped != from || e.Output != from+uint64(len(text)) {
		t.Errorf("attached at %d, %d bytes, %+v", from, len(text), e)
	}
}

// TestDelays ends a workload again and again. The delay doubles up to its limit. A long run
// sets the delay and the count of tries back.
func TestDelays(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "--workload=/bin/true", "--workload-restart=always", "--workload-tries=20")
	var u *unit
	end := func(ran time.Duration) (delay time.Duration, tries uint32) {
		r.Do(func() {
			u.tries++
			u.next(0, ran, "workload ended", "", "")
			u.timer.Stop()
			delay, tries = u.delay, u.tries
		})
		return delay, tries
	}
	r.Until("the workload waits", func() bool {
		u = r.work.units[0]
		u.timer.Stop()
		return u.state == backingOff
	})
	r.Do(func() { u.delay, u.tries = 0, 0 })
	for i, want := range []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000} {
		if got, tries := end(time.Second); got != want*time.Millisecond || tries != uint32(i+1) {
			t.Errorf("end %d: the delay is %v and there were %d tries, want %v and %d", i+1, got, tries, want*time.Millisecond, i+1)
		}
	}
	if got, tries := end(steadyAfter); got != minDelay || tries != 0 {
		t.Errorf("after a long run the delay is %v and there were %d tries, want %v and 0", got, tries, minDelay)
	}
}

package reactor

import (
	"bufio"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// signaled is a process that prints the signals that it gets.
type signaled struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
	log *strings.Builder
}

func startSignaled(t *testing.T, cmd *exec.Cmd) *signaled {
	t.Helper()
	s := &signaled{t: t, cmd: cmd, log: &strings.Builder{}}
	cmd.Stderr = s.log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.in, s.out = in, bufio.NewScanner(out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // also after a failure
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	if line := s.line(); line != "ready" {
		t.Fatalf("the process printed %q, want ready", line)
	}
	return s
}

func (s *signaled) line() string {
	s.t.Helper()
	if !s.out.Scan() {
		s.cmd.Process.Kill()
		s.t.Fatalf("the process ended: %v\n%s", s.cmd.Wait(), s.log)
	}
	return s.out.Text()
}

func (s *signaled) send(sig unix.Signal) {
	s.t.Helper()
	if err := unix.Kill(s.cmd.Process.Pid, sig); err != nil {
		s.t.Fatal(err)
	}
}

func (s *signaled) end() {
	s.t.Helper()
	s.in.Close()
	if err := s.cmd.Wait(); err != nil {
		s.t.Fatalf("the process ended with %v\n%s", err, s.log)
	}
}

// each sends each signal many times, the next one when the last was reported. Every signal must be
// reported once.
func (s *signaled) each(times int, sigs []unix.Signal) {
	s.t.Helper()
	for range times {
		for _, sig := range sigs {
			s.send(sig)
			if got := s.line(); got != strconv.Itoa(int(sig)) {
				s.t.Fatalf("sent %v, the process reported %s", sig, got)
			}
		}
	}
}

func TestSignals(t *testing.T) {
	t.Parallel()
	s := startSignaled(t, role(t, "echo signals", "GOMAXPROCS=1"))
	s.each(500, allSignals)
	s.end()
}

// TestSignalsWhileTheRuntimeIsBusy does the same while the collector runs all the time and
// goroutines take turns on every thread.
func TestSignalsWhileTheRuntimeIsBusy(t *testing.T) {
	t.Parallel()
	s := startSignaled(t, role(t, "echo signals", "GOGC=1", "ECHO_BUSY=1"))
	s.each(60, allSignals)
	s.end()
}

// TestSignalsAfterADirtyStart holds that an agent gets all signals, even if its parent ignored and
// blocked them.
func TestSignalsAfterADirtyStart(t *testing.T) {
	t.Parallel()
	s := startSignaled(t, role(t, "dirty start", "DIRTY_NEXT=echo signals"))
	s.each(50, allSignals)
	s.end()
}

// TestSignalStorm has several processes send signals at once, and input besides. The kernel merges
// signals, but the last of each must be reported. So each sender ends with a signal that only it
// sends.
func TestSignalStorm(t *testing.T) {
	t.Parallel()
	s := startSignaled(t, role(t, "echo signals"))
	senders := []unix.Signal{unix.SIGUSR1, unix.SIGUSR2, unix.SIGTERM, unix.SIGCHLD}
	const each = 3000
	var wg sync.WaitGroup
	for _, sig := range senders {
		wg.Go(func() {
			for range each {
				unix.Kill(s.cmd.Process.Pid, sig)
			}
		})
	}
	wg.Go(func() {
		for range 200 {
			s.in.Write(make([]byte, 4096))
		}
	})
	told := map[string]int{}
	sent := make(chan struct{})
	go func() { wg.Wait(); s.send(unix.SIGPWR); close(sent) }()
	for {
		line := s.line()
		told[line]++
		if line == strconv.Itoa(int(unix.SIGPWR)) {
			break
		}
	}
	<-sent
	s.in.Close()
	for s.out.Scan() {
		told[s.out.Text()]++
	}
	for _, sig := range senders {
		if n := told[strconv.Itoa(int(sig))]; n < 1 || n > each {
			t.Errorf("%v was reported %d times, want 1 to %d", sig, n, each)
		}
	}
	s.end()
}

// TestSignalsCoalesce holds that a signal that came many times before it is handled is reported
// once.
func TestSignalsCoalesce(t *testing.T) {
	t.Parallel()
	s := startSignaled(t, role(t, "echo signals"))
	s.send(unix.SIGSTOP)
	// SIGSTOP takes effect with a delay, and some signals would be reported before.
	if err := unix.Waitid(unix.P_PID, s.cmd.Process.Pid, nil, unix.WSTOPPED, nil); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		s.send(unix.SIGUSR1)
	}
	s.send(unix.SIGCONT)
	s.send(unix.SIGUSR2)
	got := []string{s.line(), s.line()}
	slices.Sort(got)
	if want := []string{strconv.Itoa(int(unix.SIGUSR1)), strconv.Itoa(int(unix.SIGUSR2))}; !slices.Equal(got, want) {
		t.Errorf("reported %v, want %v", got, want)
	}
	s.end()
}

// TestSignalsOfChildren holds that a child starts with no signal ignored, blocked or handled.
func TestSignalsOfChildren(t *testing.T) {
	t.Parallel()
	for _, cmd := range []*exec.Cmd{
		role(t, "show child"),
		role(t, "dirty start", "DIRTY_NEXT=show child"),
		role(t, "dirty start", "DIRTY_NEXT=show child", "GOMAXPROCS=1"),
	} {
		out := play(t, cmd)
		lines := 0
		for line := range strings.Lines(out) {
			for _, field := range []string{"SigIgn:", "SigBlk:", "SigCgt:"} {
				if value, ok := strings.CutPrefix(line, field); ok {
					lines++
					if strings.Trim(value, "0 \t\n") != "" {
						t.Errorf("%v: a child has %s, want no signal",
							cmd.Env[len(cmd.Env)-2:], line)
					}
				}
			}
		}
		if lines != 15 {
			t.Errorf("%d lines from five children, want 15", lines)
		}
	}
}

func TestSignalsCostNoThread(t *testing.T) {
	t.Parallel()
	// The runtime may start a thread at any time, however idle it is. One attempt in which it does
	// not is proof.
	var err error
	for range 10 {
		cmd := role(t, "count threads", "GOMAXPROCS=1", "GOGC=off")
		var out []byte
		if out, err = cmd.CombinedOutput(); err == nil {
			return
		}
		t.Logf("%s", out)
	}
	t.Error(err)
}

// TestShieldFaults holds that a fault signal from a process does nothing, and that a real fault
// still ends the program.
func TestShieldFaults(t *testing.T) {
	t.Parallel()
	out := play(t, role(t, "shielded"))
	if out != "alive\nruntime error: invalid memory address or nil pointer dereference\n" {
		t.Errorf("the process printed %q", out)
	}
}

func TestSignalSet(t *testing.T) {
	t.Parallel()
	set := SignalSet(1<<0 | 1<<(unix.SIGTERM-1) | 1<<63)
	var got []unix.Signal
	for sig := range set.All {
		got = append(got, sig)
		if !set.Has(sig) {
			t.Errorf("Has(%v) = false", sig)
		}
	}
	if !slices.Equal(got, []unix.Signal{1, unix.SIGTERM, 64}) || set.Has(2) {
		t.Errorf("All() = %v, want 1, 15 and 64", got)
	}
	for sig := range set.All {
		if sig != 1 {
			t.Errorf("All continued with %v after yield returned false", sig)
		}
		break
	}
}

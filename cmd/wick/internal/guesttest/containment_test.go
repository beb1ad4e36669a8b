package guesttest

import (
	"bytes"
	"testing"
	"time"

	"wick/framing/client"
)

// testDaemon times out a command that has left a daemon in a session of its own. The daemon must be
// killed too.
func testDaemon(t *testing.T, s *served) {
	const command = `
mkfifo /run/up
(setsid sh -c '(echo $$ >/run/daemon; trap "" TERM HUP; echo >/run/up; sleep 1000; sleep 1000) & exit' &)
read x </run/up
sleep 1000`
	r := result(t, s.conn, client.Exec{Command: command, Timeout: 3 * time.Second})
	if r.ExitCode != 124 || string(r.Stderr) != "Timeout" {
		t.Errorf("exit code %d, stderr %q, want a timeout", r.ExitCode, r.Stderr)
	}
	got := run(t, s.conn, `rm /run/up /run/daemon; ps -o pid,stat,args | grep '[s]leep 1000'; true`)
	if got != "" {
		t.Errorf("left of the command:\n%s", got)
	}
}

// bomb is a fork bomb, with a function name that busybox accepts. Alone, its command ends at once
// and leaves the bomb running.
const bomb = "b(){ b|b& };b"

// inTime makes the bomb's command last until its timeout, without a fork, which would fail, and
// exempt from the OOM killer.
const inTime = "\necho -1000 >/proc/self/oom_score_adj; exec sleep 1000"

// testForkBomb runs a fork bomb. The agent must answer meanwhile, and the command's timeout must
// kill the bomb.
func testForkBomb(t *testing.T, s *served) {
	ctx := deadline(t, 2*stepLimit)
	pid, err := s.conn.Spawn(ctx, client.Exec{Command: bomb + inTime, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if e := pingsUntilExit(t, s, pid); e.ExitCode != 124 {
		t.Errorf("exit code %d, stderr %q, want a timeout", e.ExitCode, clip(e.Stderr))
	}
	// All were killed at once, but each needs a processor to exit, and process 1 to reap it.
	until(t, s.conn, "[ $(cat /sys/fs/cgroup/wick-1/*/pids.current | sort -n | tail -n 1) -lt 10 ]")
	// The limit is half of what the kernel allows the machine, one for each 128 KiB of memory.
	most := atoi(t, run(t, s.conn, "cat /proc/sys/kernel/threads-max"))
	if got := atoi(t, run(t, s.conn, "cat /sys/fs/cgroup/wick-1/*/pids.max | sort -u")); got < most/3 || got > most*2/3 {
		t.Errorf("a command may have %d processes, and the machine %d", got, most)
	}
}

// pingsUntilExit pings until a spawned process exits. A machine under pressure promises an answer
// within one second, and the emulation may take another.
func pingsUntilExit(t *testing.T, s *served, pid uint32) *client.Exit {
	t.Helper()
	ctx := deadline(t, 2*stepLimit)
	ended := make(chan *client.Exit, 1)
	go func() {
		e, _ := s.conn.WaitExit(ctx, pid)
		ended <- e
	}()
	pings, worst := 0, time.Duration(0)
	for {
		took, err := s.conn.Ping(ctx)
		if err != nil {
			t.Fatalf("ping %d: %v", pings, err)
		}
		pings++
		worst = max(worst, took)
		select {
		case e := <-ended:
			t.Logf("%d pings, the longest %v", pings, worst)
			if e == nil {
				t.Fatal("the process's exit did not come")
			}
			if worst > 2*time.Second {
				t.Errorf("a ping took %v", worst)
			}
			return e
		default:
		}
	}
}

// testOutOfMemory has commands fill the memory slowly, and two at once. Each must be killed soon
// and report the reason, and the agent must answer meanwhile.
func testOutOfMemory(t *testing.T, s *served) {
	// The second time follows a fork, during which the agent's memory is charged to a command.
	for range 2 {
		if got := run(t, s.conn, "cat /proc/1/oom_score_adj /proc/self/oom_score_adj"); got != "-1000\n0\n" {
			t.Errorf("oom_score_adj of the agent and of a command: %q", got)
		}
	}
	for _, command := range []string{
		"a=$(head -c 100000 /dev/zero | tr '\\0' a); while :; do a=$a$a; done",
		"tail /dev/zero & exec tail /dev/zero",
	} {
		pid, err := s.conn.Spawn(deadline(t, stepLimit), client.Exec{Command: command})
		if err != nil {
			t.Fatal(err)
		}
		e := pingsUntilExit(t, s, pid)
		if e.ExitCode != 137 || !bytes.Contains(e.Stderr, []byte("[out of memory: ")) {
			t.Errorf("%s: exit code %d, stderr %q, want 137 and why", command, e.ExitCode, clip(e.Stderr))
		}
	}
	// The programs' own pages are of that memory. Once only they can be evicted, the kernel may do
	// nothing else, without end.
	r := result(t, s.conn, client.Exec{Command: "for i in 1 2 3; do tail /dev/zero; done; exit 4"})
	if r.ExitCode != 4 || !bytes.Contains(r.Stderr, []byte("[out of memory: 3 processes killed]")) {
		t.Errorf("exit code %d, stderr %q, want three killed", r.ExitCode, clip(r.Stderr))
	}
	// A kill that was not a failure is not reported by the next command in the same cgroup either.
	r = result(t, s.conn, client.Exec{Command: "tail /dev/zero; true"})
	if r.ExitCode != 0 || bytes.Contains(r.Stderr, []byte("[out of memory: ")) {
		t.Errorf("exit code %d, stderr %q", r.ExitCode, clip(r.Stderr))
	}
	if r := result(t, s.conn, client.Exec{Command: "exit 3"}); r.ExitCode != 3 || len(r.Stderr) != 0 {
		t.Errorf("a command after it: exit code %d, stderr %q", r.ExitCode, clip(r.Stderr))
	}
}

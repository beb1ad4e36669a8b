package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"golang.org/x/sys/unix"
)

// script writes a program for the shell, and returns its path.
func script(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// withWord returns the processes that have a word on their command line.
func withWord(word string) (list []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		b, _ := os.ReadFile(file)
		if slices.Contains(strings.Split(string(b), "\x00"), word) {
			list = append(list, file)
		}
	}
	return list
}

// TestLogs sends output to files, log programs and FIFOs, including those that fail.
func TestLogs(t *testing.T) {
	d := containerd(t)
	v := &victim{d: d, c: connect(t, d), id: "logs1"}
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	read := func(name string) string {
		b, _ := os.ReadFile(path(name))
		return string(b)
	}
	exits := v.c.watch(t)
	keep := script(t, dir, "keep", `exec 5>&-
cat <&4 >`+dir+`/$2.err &
cat <&3 >`+dir+`/$2.out
wait
echo "$CONTAINER_ID $CONTAINER_NAMESPACE $1 $2" >`+dir+`/$2.env
`)
	d.must(t, "run", "-d", "--runtime", runtimeName, "--log-uri", "binary://"+keep+"?name=first", testImage, v.id,
		"sh", "-c", "echo began; echo problem >&2; trap 'echo ended; exit 4' TERM; while :; do sleep 0.1; done")

	ctx, cancel := context.WithTimeout(in(t.Context()), ctrLimit)
	defer cancel()
	exec := func(id string, r *tasks.ExecProcessRequest) {
		t.Helper()
		r.ContainerID, r.ExecID = v.id, id
		if _, err := v.c.tasks.Exec(ctx, r); err != nil {
			t.Fatalf("exec %s: %v\n%s", id, err, d.lastLog())
		}
	}
	start := func(ctx context.Context, id string) error {
		_, err := v.c.tasks.Start(ctx, &tasks.StartRequest{ContainerID: v.id, ExecID: id})
		return err
	}
	ended := func(id string) uint32 {
		t.Helper()
		r, err := v.c.tasks.Wait(ctx, &tasks.WaitRequest{ContainerID: v.id, ExecID: id})
		if err != nil {
			t.Fatalf("wait for %s: %v\n%s", id, err, d.lastLog())
		}
		return r.ExitStatus
	}
	remove := func(id string) {
		t.Helper()
		if _, err := v.c.tasks.DeleteProcess(ctx, &tasks.DeleteProcessRequest{ContainerID: v.id, ExecID: id}); err != nil {
			t.Errorf("delete %s: %v", id, err)
		}
	}
	sh := func(text string) *tasks.ExecProcessRequest {
		return &tasks.ExecProcessRequest{Spec: processSpec("sh", "-c", text)}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%v\n%s", err, d.lastLog())
		}
	}

	t.Run("file", func(t *testing.T) {
		// ctr gives both outputs the same file.
		for range 2 {
			out, errs, code := d.ctr(t, "", "task", "exec", "--exec-id", "file", "--log-uri", "file://"+path("new/log"), v.id,
				"sh", "-c", "echo out; echo err >&2; exit 6")
			if code != 6 {
				t.Errorf("exit code %d, want 6: %q %q", code, out, errs)
			}
		}
		if got := read("new/log"); strings.Count(got, "out\n") != 2 || strings.Count(got, "err\n") != 2 {
			t.Errorf("the file has %q, want both outputs twice", got)
		}
	})
	t.Run("full file", func(t *testing.T) {
		r := sh("yes")
		r.Stdout = "file:///dev/full"
		exec("full", r)
		must(start(ctx, "full"))
		if code := ended("full"); code != 128+uint32(syscall.SIGPIPE) {
			t.Errorf("exit code %d, want that of SIGPIPE", code)
		}
		remove("full")
	})
	t.Run("slow program", func(t *testing.T) {
		// It reads only once the process has written more than all buffers hold.
		must(unix.Mkfifo(path("gate"), 0o600))
		slow := script(t, dir, "slow", "exec 5>&-; read line <"+path("gate")+"; cat <&3 >"+path("slow.out"))
		r := sh("head -c 3000000 /dev/zero; exit 8")
		r.Stdout, r.Stderr = "binary://"+slow, "binary://"+slow
		exec("slow", r)
		must(start(ctx, "slow"))
		must(os.WriteFile(path("gate"), []byte("go\n"), 0))
		if code := ended("slow"); code != 8 {
			t.Errorf("exit code %d, want 8", code)
		}
		remove("slow") // waits for the program
		if n := len(read("slow.out")); n != 3000000 {
			t.Errorf("the program wrote %d bytes, want 3000000", n)
		}
	})
	t.Run("program that ends", func(t *testing.T) {
		r := sh("yes")
		r.Stdout = "binary://" + script(t, dir, "dies", "exec 5>&-; head -c 10 <&3 >/dev/null")
		exec("dies", r)
		must(start(ctx, "dies"))
		if code := ended("dies"); code != 128+uint32(syscall.SIGPIPE) {
			t.Errorf("exit code %d, want that of SIGPIPE", code)
		}
		remove("dies")
	})
	t.Run("program that says ready", func(t *testing.T) {
		// It keeps the descriptor, as its children do.
		r := sh("echo text")
		r.Stdout = "binary://" + script(t, dir, "says", "echo >&5; cat <&3 >"+path("says.out"))
		exec("says", r)
		must(start(ctx, "says"))
		if code := ended("says"); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
		remove("says")
		if got := read("says.out"); got != "text\n" {
			t.Errorf("the program wrote %q", got)
		}
	})
	t.Run("program of a terminal", func(t *testing.T) {
		r := sh("test -t 1 && echo terminal")
		r.Terminal, r.Stdout = true, "binary://"+keep+"?name=terminal"
		exec("terminal", r)
		must(start(ctx, "terminal"))
		ended("terminal")
		remove("terminal")
		if got := read("terminal.out"); got != "terminal\r\n" {
			t.Errorf("the program wrote %q", got)
		}
	})
	t.Run("program that is never ready", func(t *testing.T) {
		r := sh("echo text")
		must(unix.Mkfifo(path("never"), 0o600))
		mute := script(t, dir, "mute", "read line <"+path("never"))
		r.Stdout = "binary://" + mute
		exec("mute", r)
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if err := start(short, "mute"); err == nil {
			t.Error("the start succeeded")
		}
		await(t, "kill the program", func() bool { return len(withWord(mute)) == 0 })
		remove("mute")
	})
	t.Run("missing program", func(t *testing.T) {
		r := sh("echo text")
		r.Stdout = "binary:///no/such"
		exec("missing", r)
		if err := start(ctx, "missing"); err == nil || !strings.Contains(err.Error(), "start the log program") {
			t.Errorf("got %v, want that the program cannot be started", err)
		}
		remove("missing")
	})
	t.Run("reader that leaves", func(t *testing.T) {
		must(unix.Mkfifo(path("fifo"), 0o600))
		must(unix.Mkfifo(path("stdin"), 0o600))
		r := sh("echo one; read line; echo $line; exit 9")
		r.Stdout, r.Stdin = path("fifo"), path("stdin")
		exec("reader", r)
		must(start(ctx, "reader"))
		line := make([]byte, 16)
		once := func() string {
			f, err := os.Open(path("fifo"))
			must(err)
			defer f.Close()
			n, err := f.Read(line)
			must(err)
			return string(line[:n])
		}
		if got := once(); got != "one\n" {
			t.Errorf("the first reader got %q", got)
		}
		must(os.WriteFile(path("stdin"), []byte("two\n"), 0))
		if got := once(); got != "two\n" {
			t.Errorf("the second reader got %q", got)
		}
		if code := ended("reader"); code != 9 {
			t.Errorf("exit code %d, want 9", code)
		}
		remove("reader")
	})
	t.Run("stdin that is closed early", func(t *testing.T) {
		must(unix.Mkfifo(path("early"), 0o600))
		r := sh("cat; exit 5")
		r.Stdin, r.Stdout = path("early"), "file://"+path("early.out")
		exec("early", r)
		_, err := v.c.tasks.CloseIO(ctx, &tasks.CloseIORequest{ContainerID: v.id, ExecID: "early", Stdin: true})
		must(err)
		// The FIFO has data and a writer until the process has been started.
		f, err := os.OpenFile(path("early"), os.O_RDWR, 0)
		must(err)
		_, err = f.WriteString("data\n")
		must(err)
		must(start(ctx, "early"))
		must(f.Close())
		if code := ended("early"); code != 5 || read("early.out") != "data\n" {
			t.Errorf("exit code %d, output %q; want 5 and the data", code, read("early.out"))
		}
		remove("early")
	})
	t.Run("order", func(t *testing.T) {
		exec("last", sh("exec sleep 1000000"))
		must(start(ctx, "last"))
		d.must(t, "task", "kill", "-s", "TERM", v.id)
		if code := ended(""); code != 4 {
			t.Errorf("exit code %d, want 4", code)
		}
		await(t, "get the event of the exit", func() bool { return slices.Contains(exits.of(v.id), 4) })
		exits.mu.Lock()
		n := len(exits.order)
		order := slices.Clone(exits.order[max(0, n-2):])
		exits.mu.Unlock()
		if fmt.Sprint(order) != "[last "+v.id+"]" {
			t.Errorf("the last exits are %v, want the container's as the last", order)
		}
	})
	v.remove(t)
	d.clean(t, v.id)
	if got := read("first.out") + read("first.err") + read("first.env"); got != "began\nended\nproblem\nlogs1 default name first\n" {
		t.Errorf("the log program of the container wrote %q", got)
	}
}

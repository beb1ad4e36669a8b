package modeltest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"wick/framing/wiretest"
)

// unixTarget is a vsock-agent at a Unix socket. Either the agent or the host listens there.
type unixTarget struct {
	t      *testing.T
	dir    string
	marker string // in the environment of all that the agent starts
	cmd    *exec.Cmd
	log    *os.File
	exited chan struct{}
	host   *net.UnixListener // if the host listens
}

// startAgent starts an agent with a new directory, which is removed when the test ends.
func startAgent(t *testing.T, hostListens bool) *unixTarget {
	t.Helper()
	dir, err := os.MkdirTemp("", "model-") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &unixTarget{t: t, dir: dir, marker: "MODEL=" + filepath.Base(dir), exited: make(chan struct{})}
	if err := os.Mkdir(w.tmp(), 0o700); err != nil {
		t.Fatal(err)
	}
	agent, err := agentProgram()
	if err == nil {
		// A child that another test forks meanwhile would inherit the file open for writing, and
		// the agent could not be executed.
		syscall.ForkLock.RLock()
		err = os.WriteFile(filepath.Join(dir, "vsock-agent"), agent, 0o755)
		syscall.ForkLock.RUnlock()
	}
	if err != nil {
		t.Fatal(err)
	}
	if hostListens {
		if w.host, err = net.ListenUnix("unix", &net.UnixAddr{Name: w.socket(), Net: "unix"}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.host.Close() })
	}
	if w.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	w.cmd = exec.Command(filepath.Join(dir, "vsock-agent"), "--unix-socket", w.socket())
	w.cmd.Dir = dir
	w.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TMPDIR=" + w.tmp(), w.marker}
	w.cmd.Stdout, w.cmd.Stderr = w.log, w.log
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := w.cmd.Start(); err != nil {
		w.log.Close()
		t.Fatal(err)
	}
	go func() {
		w.cmd.Wait()
		close(w.exited)
	}()
	t.Cleanup(w.stop)
	return w
}

func (w *unixTarget) socket() string { return filepath.Join(w.dir, "sock") }
func (w *unixTarget) tmp() string    { return filepath.Join(w.dir, "tmp") }
func (w *unixTarget) pid() string    { return strconv.Itoa(w.cmd.Process.Pid) }
func (w *unixTarget) exact() bool    { return true }
func (w *unixTarget) reset() bool    { return false }

// stop ends the agent as an init would, and checks that nothing is left of it.
func (w *unixTarget) stop() {
	defer w.log.Close()
	w.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-w.exited:
		if !w.cmd.ProcessState.Success() {
			w.t.Errorf("the agent ended with %v", w.cmd.ProcessState)
		}
	case <-time.After(patience):
		w.t.Error("the agent does not end")
		w.cmd.Process.Kill()
		<-w.exited
	}
	const groups = "/sys/fs/cgroup/wick-"
	const unified = "/sys/fs/cgroup/unified/wick-"
	pid := w.pid()
	for _, pattern := range []string{w.tmp() + "/*", w.dir + "/.wick*", groups + pid,
		groups + pid + "-*", unified + pid, unified + pid + "-*"} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 && !w.t.Failed() {
			w.t.Errorf("the agent left %q", left)
		}
	}
	if w.t.Failed() {
		log, _ := os.ReadFile(w.log.Name())
		lines := strings.Split(strings.TrimSpace(string(log)), "\n")
		w.t.Logf("the agent's log ends with\n%s", strings.Join(lines[max(0, len(lines)-15):], "\n"))
		w.killStrays()
	}
}

func (w *unixTarget) dial() (c *net.UnixConn, err error) {
	if w.host != nil {
		w.host.SetDeadline(time.Now().Add(patience))
		return w.host.AcceptUnix()
	}
	err = until(func() (err error) {
		select {
		case <-w.exited:
			return nil // reported below
		default:
		}
		c, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: w.socket(), Net: "unix"})
		return err
	})
	if c == nil && err == nil {
		err = errors.New("the agent has ended by itself")
	}
	return c, err
}

func (w *unixTarget) look(*model) (string, error) {
	cmd := exec.Command("sh", "-c", fmt.Sprintf(lookScript, w.pid(), w.dir+"/files"))
	cmd.Env = append(os.Environ(), "TMPDIR="+w.tmp(), "LC_ALL=C")
	out, err := cmd.Output()
	return string(out), err
}

func (w *unixTarget) strays() (found []string) {
	w.eachStray(func(pid int, what string) { found = append(found, what) })
	return found
}

func (w *unixTarget) killStrays() {
	w.eachStray(func(pid int, _ string) { syscall.Kill(pid, syscall.SIGKILL) })
}

// eachStray calls f for each living process with the marker in its environment.
func (w *unixTarget) eachStray(f func(pid int, what string)) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == w.cmd.Process.Pid {
			continue
		}
		env, _ := os.ReadFile("/proc/" + e.Name() + "/environ")
		if bytes.Contains(env, []byte(w.marker+"\x00")) {
			line, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
			f(pid, e.Name()+" "+wiretest.Brief(bytes.ReplaceAll(bytes.TrimRight(line, "\x00"), []byte{0}, []byte(" "))))
		}
	}
}

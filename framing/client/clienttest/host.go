package clienttest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"wick/framing"
)

// host is a connection to a host.
type host struct {
	g    *Guest
	conn net.Conn
	work sync.WaitGroup

	writing sync.Mutex

	mu      sync.Mutex
	gone    bool
	running map[int]bool // process groups
}

// send sends whole frames. It ignores errors: if the host has gone, reading fails.
func (h *host) send(frames []byte) {
	h.writing.Lock()
	defer h.writing.Unlock()
	h.conn.Write(frames)
}

// answer answers one frame.
func (h *host) answer(head framing.Header, payload []byte) {
	switch head.Type {
	case framing.TypePing:
		if !h.g.Mute {
			h.send(framing.AppendFrame(nil, framing.TypePong, head.Seq, nil))
		}
	case framing.TypeShutdown:
		h.send(framing.AppendFrame(nil, framing.TypeShutdownAck, head.Seq, nil))
	case framing.TypeWriteFile:
		var w framing.WriteFile
		content, err := framing.ParseWriteFile(payload, &w)
		if err != nil {
			h.send(framing.AppendError(nil, head.Seq, err.Error()))
			return
		}
		reason := ""
		if err := h.g.put(string(w.Path), content); err != nil {
			reason = err.Error()
		}
		h.send(framing.AppendWriteFileResult(nil, head.Seq, reason))
	case framing.TypeExec, framing.TypeSpawnWatch:
		var e framing.Exec
		if err := framing.ParseExec(head.Type, payload, &e); err != nil {
			h.send(framing.AppendError(nil, head.Seq, err.Error()))
			return
		}
		h.run(head, &e)
	case framing.TypeError:
	default:
		h.send(framing.AppendError(nil, head.Seq, fmt.Sprintf("unknown message type 0x%02X", uint8(head.Type))))
	}
}

// run starts a command and sends its result when it ends.
func (h *host) run(head framing.Header, e *framing.Exec) {
	cmd := exec.Command("sh", "-c", string(e.Command))
	cmd.Env = cmd.Environ()
	for key, value := range e.Env.All {
		cmd.Env = append(cmd.Env, string(key)+"="+string(value))
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 100 * time.Millisecond
	if err := cmd.Start(); err != nil {
		h.send(framing.AppendError(nil, head.Seq, err.Error()))
		return
	}
	pid := cmd.Process.Pid
	h.started(pid)
	if head.Type == framing.TypeSpawnWatch {
		h.send(framing.AppendSpawnResult(nil, head.Seq, uint32(pid)))
	}
	timeout := make(chan bool, 1)
	var timer *time.Timer
	if e.TimeoutMS > 0 {
		timer = time.AfterFunc(time.Duration(e.TimeoutMS)*time.Millisecond, func() {
			timeout <- true
			syscall.Kill(-pid, syscall.SIGKILL)
		})
	}
	h.work.Go(func() {
		err := cmd.Wait()
		if timer != nil {
			timer.Stop()
		}
		h.ended(pid)
		r := &framing.ExecResult{ExitCode: exitCode(err), Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}
		if len(timeout) > 0 {
			r.ExitCode, r.Stderr = 124, append(r.Stderr, "Timeout\n"...)
		}
		if head.Type == framing.TypeSpawnWatch {
			h.send(framing.AppendProcessExit(nil, uint32(pid), r))
		} else {
			h.send(framing.AppendExecResult(nil, head.Seq, r))
		}
	})
}

// exitCode returns the exit code that a shell gives for the end of a command.
func exitCode(err error) int32 {
	failed, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return 0
	}
	if status := failed.Sys().(syscall.WaitStatus); status.Signaled() {
		return 128 + int32(status.Signal())
	}
	return int32(failed.ExitCode())
}

func (h *host) started(pgid int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running == nil {
		h.running = map[int]bool{}
	}
	h.running[pgid] = true
	if h.gone {
		syscall.Kill(-pgid, syscall.SIGKILL)
	}
}

func (h *host) ended(pgid int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.running, pgid)
}

// killAll kills the commands of a host that has gone, so that a test leaves none behind.
func (h *host) killAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone = true
	for pgid := range h.running {
		syscall.Kill(-pgid, syscall.SIGKILL)
	}
}

package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// inject CALLS:error=ERRNO has system calls of the agent fail, until the next inject; inject nothing ends that. It is strace's, which
// stops the agent at each of its calls and not its commands.
func (r *run) inject(what string) error {
	if err := r.endInject(); err != nil {
		return err
	}
	if what == "nothing" {
		return nil
	}
	calls, _, _ := strings.Cut(what, ":")
	threads, err := filepath.Glob("/proc/" + r.vars["AGENT"] + "/task/*")
	if err != nil {
		return err
	}
	args := []string{"-qq", "-o", "/dev/null", "-e", "trace=" + calls, "-e", "inject=" + what}
	for _, thread := range threads {
		args = append(args, "-p", filepath.Base(thread))
	}
	r.tracer = exec.Command("strace", args...)
	r.tracer.Env = r.environment() // with the marker by which it is ended, whatever happens
	var said bytes.Buffer
	r.tracer.Stderr = &said
	if err := r.tracer.Start(); err != nil {
		return err
	}
	err = r.poll(func() error {
		for _, thread := range threads {
			status, err := os.ReadFile(thread + "/status")
			if err == nil && bytes.Contains(status, []byte("TracerPid:\t0\n")) {
				err = errors.New("the agent is not traced")
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		r.tracer.Process.Kill()
		r.tracer.Wait()
		r.tracer = nil
		return fmt.Errorf("%w: %s", err, said.String())
	}
	return nil
}

// endInject has the tracer go. It makes a call fail by asking the kernel for one that there is not, and sets the error when that has failed: to
// leave between the two would be an ENOSYS that nobody asked for. So it leaves while every thread of the agent sleeps, in a call that is none
// of these: they return at once.
func (r *run) endInject() error {
	if r.tracer == nil {
		return nil
	}
	tracer := r.tracer
	r.tracer = nil
	err := r.poll(func() error {
		threads, err := filepath.Glob("/proc/" + r.vars["AGENT"] + "/task/*/status")
		for _, thread := range threads {
			status, err := os.ReadFile(thread)
			if err == nil && !bytes.Contains(status, []byte("State:\tS")) {
				err = errors.New("the agent does not come to rest")
			}
			if err != nil {
				return err
			}
		}
		return err
	})
	tracer.Process.Signal(syscall.SIGINT)
	tracer.Wait()
	return err
}

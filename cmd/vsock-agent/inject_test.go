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

// inject runs a step inject CALLS:error=ERRNO, which makes system calls of the agent fail until the
// next inject. The step inject nothing ends that. It uses strace, which stops the agent at each of
// its calls, but not the agent's commands.
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
	r.tracer.Env = r.environment() // with the marker, so that end always kills it
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

// endInject detaches strace while every thread of the agent sleeps. strace makes a call fail in two
// steps: it asks the kernel for a call that does not exist, and then sets the error. Detaching
// between the two would give the agent an unexpected ENOSYS. A thread that sleeps is in another
// call, because these return at once.
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

package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// runLimit is how long Run waits after ctx has ended, while a blocking writer still holds output.
const runLimit = cancelLimit + time.Second

// Wait waits until the process has ended and all its output was handed on, and returns its receipt.
// If ctx ends first the process keeps running, and Wait can be called again.
//
// A process that did not end with exit status 0 is an [*ExitError], returned with its receipt. An
// error of Stdin or of a writer is in that error, or is returned if there is no other. If the
// connection ended the error is a [*ConnError], or a [*RemoteError] if another connection attached.
// [Cmd.Reattach] continues a process with Keep, and Wait can then be called again.
func (cmd *Cmd) Wait(ctx context.Context) (*Receipt, error) {
	p := cmd.p
	if p == nil {
		return nil, &RequestError{Op: "wait", Reason: "not started"}
	}
	l := p.current()
	select {
	case <-l.idle():
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for %s: %w", p.name, ctx.Err())
	}
	if p.done() {
		l.c.flush(ctx) // tell the guest, whatever happens to the connection
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.receipt == nil {
		return nil, fmt.Errorf("wait for %s: %w", p.name, l.err)
	}
	if err := p.receipt.err(); err != nil {
		exit := err.(*ExitError)
		exit.Cause, exit.Streams = p.cancelled, p.copied
		return p.receipt, err
	}
	if p.copied != nil {
		return p.receipt, fmt.Errorf("streams of %s: %w", p.name, p.copied)
	}
	return p.receipt, nil
}

// done releases what belongs to a process that has ended, and reports whether the guest was told.
func (p *process) done() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.receipt != nil && p.unwatch != nil {
		p.unwatch()
	}
	return p.release()
}

// Run is Start and Wait. If ctx ends the process is cancelled, and the error says both.
func (cmd *Cmd) Run(ctx context.Context) (*Receipt, error) {
	if err := cmd.Start(ctx); err != nil {
		return nil, err
	}
	// The receipt of a cancelled process is worth a short wait, and a writer must not be in use
	// after the return.
	wait, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(runLimit, func() { cancel(ctx.Err()) })
		context.AfterFunc(wait, func() { timer.Stop() })
	})()
	r, err := cmd.Wait(wait)
	if err != nil && r == nil && ctx.Err() != nil {
		err = fmt.Errorf("wait for %s: %w", cmd.name(), ctx.Err())
	}
	return r, err
}

// Output is Run, and returns the process's stdout, all of it or as much as Cap allows. If Stderr is
// not set, the error has the beginning of the process's stderr.
func (cmd *Cmd) Output(ctx context.Context) ([]byte, error) {
	var out bytes.Buffer
	errs := &prefix{}
	cmd.Stdout = &out
	if cmd.Stderr == nil && cmd.errPipe == nil && !cmd.Merge {
		cmd.Stderr = errs
	}
	_, err := cmd.Run(ctx)
	if exit, ok := errors.AsType[*ExitError](err); ok {
		exit.Stderr = errs.b
	}
	return out.Bytes(), err
}

// CombinedOutput is Run, and returns the process's stdout and stderr, in the order they were
// written.
func (cmd *Cmd) CombinedOutput(ctx context.Context) ([]byte, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Merge = &out, nil, true
	_, err := cmd.Run(ctx)
	return out.Bytes(), err
}

// prefix keeps the first bytes that are written to it.
type prefix struct{ b []byte }

// prefixLimit is how many bytes prefix keeps, as in os/exec.
const prefixLimit = 32 << 10

func (p *prefix) Write(b []byte) (int, error) {
	p.b = append(p.b, b[:min(len(b), prefixLimit-len(p.b))]...)
	return len(b), nil
}

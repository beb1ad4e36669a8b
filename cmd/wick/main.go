// Command wick boots microVMs and talks to the agent in them. It runs commands and shells there,
// copies files in both directions, shows figures of the machine, and freezes, restores or powers it
// off. Run wick --help for its commands.
//
// The exit code of exec, shell, attach and run is that of the command. Otherwise it is:
//
//   - 0 for success, and 1 if the guest could not do it
//   - 124 if the command ran out of time
//   - 125 for an error in the command line, and if the guest could not be reached or was lost
//   - 126 if the command could not be executed, and 127 if there is no such program
//   - 128+N after signal N
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/help"
	"wick/cmd/wick/internal/output"
)

// version is set by -ldflags "-X main.version=...".
var version = "dev"

// unwindLimit limits the wait for sockets to be removed after a signal. A call that still blocks
// then, such as a read from a terminal, would block for ever. Tests change it.
var unwindLimit = time.Second

// signalGrace is the time between a signal that was passed on to a command and its kill.
const signalGrace = 5 * time.Second

func main() { os.Exit(mainCode()) }

// mainCode runs the command line and returns the exit code.
func mainCode() int {
	t := &tool{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	defer func() {
		t.terminal.Load().Drop()
		t.terminal.Load().Restore()
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it
		signal.Notify(signals, syscall.SIGHUP)
	}
	done := make(chan int, 1)
	go func() {
		defer func() { t.terminal.Load().Restore() }() // a panic ends the program here
		done <- t.main(ctx, os.Args[1:])
	}()
	return t.await(ctx, cancel, signals, done)
}

// await waits for the end of the command line and returns the exit code. A signal is passed on to
// the command that runs in the guest. SIGQUIT is only passed on, like a Ctrl-\ typed in ssh. After
// any other signal the command has signalGrace, or what t.stop says, to end by itself. A second
// signal ends it at once.
// Without a command in the guest the first signal ends wick.
func (t *tool) await(ctx context.Context, cancel func(), signals <-chan os.Signal, done <-chan int) int {
	var last syscall.Signal
	var grace <-chan time.Time
	failed := make(chan struct{}, cap(signals))
	for leaving := false; !leaving; {
		select {
		case code := <-done:
			return code
		case s := <-signals:
			sig, pass := s.(syscall.Signal), t.running.Load()
			if pass == nil || sig != syscall.SIGQUIT && grace != nil {
				last, leaving = sig, true
				break
			}
			if last = sig; sig != syscall.SIGQUIT {
				t.asked.Store(true)
				wait := signalGrace
				if stop := t.stop.Load(); stop != nil {
					sig, wait = stop.of(sig)
				}
				grace = time.After(wait)
			}
			go func() {
				// ESRCH: the command has ended, and its exit code is on the way.
				if err := (*pass)(ctx, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
					failed <- struct{}{}
				}
			}()
		case <-failed:
			leaving = true
		case <-grace:
			if leaving = t.running.Load() != nil; !leaving {
				grace = time.After(t.unwindTime()) // it has ended, and wick is cleaning up
			}
		}
	}
	cancel()
	select {
	case <-done:
	case <-signals: // another one: do not wait
	case <-time.After(t.unwindTime()):
	}
	return 128 + int(last)
}

// stopRule says how a command is asked to end, where that is not the usual way.
type stopRule struct {
	signal syscall.Signal
	grace  time.Duration
}

// of returns what a command gets for a signal to wick, and the time that it has for its end.
// SIGTERM asks for the end, so it becomes the signal that does.
func (r *stopRule) of(sig syscall.Signal) (syscall.Signal, time.Duration) {
	if sig == syscall.SIGTERM {
		sig = r.signal
	}
	return sig, r.grace
}

// unwindTime returns how long to wait after a signal for the command to clean up.
func (t *tool) unwindTime() time.Duration { return max(unwindLimit, time.Duration(t.unwind.Load())) }

// main runs one command line and returns the exit code. It prints no error if ctx ends.
func (t *tool) main(ctx context.Context, args []string) int {
	root := t.root()
	root.SetArgs(spaced(root, args))
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	err = help.CommandError(root, args, err)
	end := exit.How(err, t.parsed)
	if end.Err != nil && ctx.Err() == nil {
		fmt.Fprintf(t.stderr, "wick: %s\n", output.PrintableLines(err.Error())) // it may have text of the guest
		if end.Usage {
			fmt.Fprintf(t.stderr, "Try '%s --help'.\n", cmd.CommandPath())
		}
	}
	return end.Code
}

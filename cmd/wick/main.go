// Command wick boots microVMs and talks to the agent in them: it runs commands and shells there, copies files both ways, shows what the
// machine is doing, and has it frozen, restored or powered off.
//
// Run wick --help for what it can do. Exit codes: that of the command for exec, shell, attach and run; else 0, or 1 if the guest could not do what was
// asked; 2 for a wrong command line; 124 for a command that ran out of time; 125 if the guest could not be reached, or was lost, or
// would not run the command; 128+N after signal N.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// version is stamped by -ldflags "-X main.version=...".
var version = "dev"

// unwindLimit is how long a signal waits for sockets to be removed. A call that still blocks then, a
// read from a terminal say, would block for ever. Tests change it.
var unwindLimit = time.Second

// signalGrace is how long a command has to end after a signal of ours that was passed on to it,
// until it is killed.
const signalGrace = 5 * time.Second

func main() { os.Exit(mainCode()) }

// mainCode runs the command line and returns the exit code.
func mainCode() int {
	t := &tool{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	defer func() {
		t.terminal.Load().drop()
		t.terminal.Load().restore()
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(signals, syscall.SIGHUP)
	}
	done := make(chan int, 1)
	go func() {
		defer func() { t.terminal.Load().restore() }() // a panic ends the program here
		done <- t.main(ctx, os.Args[1:])
	}()
	return t.await(ctx, cancel, signals, done)
}

// await waits for the end of a command line, and returns the exit code. A signal is passed on to
// the command that runs in the guest. SIGQUIT is the command's alone, as Ctrl-\ typed in ssh is;
// after any other the command has a grace to end by itself. A second signal ends that, and without
// a command in the guest the first does.
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
				grace = time.After(signalGrace)
			}
			go func() {
				// If it has ended already its exit code is on the way.
				if err := (*pass)(ctx, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
					failed <- struct{}{}
				}
			}()
		case <-failed:
			leaving = true
		case <-grace:
			if leaving = t.running.Load() != nil; !leaving {
				grace = time.After(t.unwindTime()) // it has ended, and what wick has made for it is being undone
			}
		}
	}
	cancel()
	select {
	case <-done:
	case <-signals: // somebody is in a hurry
	case <-time.After(t.unwindTime()):
	}
	return 128 + int(last)
}

// unwindTime is how long a signal waits for what is to be undone.
func (t *tool) unwindTime() time.Duration { return max(unwindLimit, time.Duration(t.unwind.Load())) }

// main runs one command line and returns the exit code. If ctx ends it says nothing: whoever ended it knows.
func (t *tool) main(ctx context.Context, args []string) int {
	root := t.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	code, silent := t.exitCode(err)
	if err != nil && !silent && ctx.Err() == nil {
		fmt.Fprintf(t.stderr, "wick: %s\n", printableLines(err.Error())) // much of which is the guest's
		if code == exitUsage {
			fmt.Fprintln(t.stderr, "Try 'wick --help', or --help behind a command.")
		}
	}
	return code
}

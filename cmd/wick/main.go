// Command wick boots microVMs and talks to the agent in them: it runs commands and shells there, copies files both ways, shows what the
// machine is doing, and has it frozen, restored or powered off.
//
// Run wick --help for what it can do. Exit codes: that of the command for exec, shell, attach and run; else 0, or 1 if the guest could not do what was
// asked; 2 for a wrong command line; 124 for a command that ran out of time; 125 if the guest could not be reached, or was lost, or
// would not run the command; 128+N after signal N.
package main

import (
	"context"
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
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan int, 1)
	go func() {
		defer func() { t.terminal.Load().restore() }() // a panic ends the program here
		done <- t.main(ctx, os.Args[1:])
	}()
	select {
	case code := <-done:
		return code
	case sig := <-signals:
		cancel()
		select {
		case <-done:
		case <-signals: // somebody is in a hurry
		case <-time.After(max(unwindLimit, time.Duration(t.unwind.Load()))):
		}
		return 128 + int(sig.(syscall.Signal))
	}
}

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

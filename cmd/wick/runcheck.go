//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/machine"
	"wick/cmd/wick/internal/output"
)

// The values of --console.
const (
	consoleText = "text"
	consoleRaw  = "raw"
)

// checkMachine refuses impossible options, and those that would have no effect.
func checkMachine(o *machine.Options) error {
	switch {
	case o.MemoryMiB < 1:
		return fmt.Errorf("--mem %d: want a size above 0, such as 128M", o.MemoryMiB)
	case o.CPUs < 1:
		return fmt.Errorf("--cpus %d: want a number above 0", o.CPUs)
	case o.OverlayMiB < 0:
		return fmt.Errorf("--overlay-size %d: want a number of MiB above 0", o.OverlayMiB)
	case o.Kernel != "" && len(o.Modules) > 0:
		return errors.New("--module needs Debian's kernel; a --kernel has everything built in")
	case o.BootLimit <= 0:
		return fmt.Errorf("--boot-timeout %v: want a time above 0", o.BootLimit)
	case o.Tmpfs && (o.Overlay != "" || o.OverlayMiB != 0):
		return errors.New("--tmpfs replaces the overlay disk; leave --overlay and --overlay-size out")
	case o.Overlay != "" && o.OverlayMiB != 0:
		return errors.New("--overlay-size is for a new disk, and --overlay names an existing one; leave one of them out")
	}
	for _, arg := range o.InitArgs {
		if strings.ContainsFunc(arg, unicode.IsSpace) {
			return fmt.Errorf("--init-arg %q: arguments travel on the kernel command line and cannot contain spaces", arg)
		}
	}
	return nil
}

// runFailed returns the error of a machine that did not run the command. It prints the last lines
// of the console if the machine failed to boot or ended.
func (t *tool) runFailed(ctx context.Context, err error, shown bool) error {
	if ctx.Err() != nil {
		return err
	}
	if boot, ok := errors.AsType[*machine.BootError](err); ok {
		if _, failed := errors.AsType[*machine.MonitorError](err); !failed || len(boot.Console) > 0 {
			t.lastWords(boot.Console, shown)
		}
	} else if end, ok := errors.AsType[*machine.EndError](err); ok {
		t.lastWords(end.Console, shown)
	}
	return &exit.Error{Code: exit.Own, Err: err}
}

// lastWords prints the last lines of a machine's console. shown says that --console has shown them
// before.
func (t *tool) lastWords(lines []string, shown bool) {
	switch {
	case len(lines) == 0 && shown:
		fmt.Fprintln(t.stderr, "--- the console is empty")
		return
	case len(lines) == 0:
		fmt.Fprintln(t.stderr, "--- the console is empty; --console makes the kernel print everything")
		return
	}
	fmt.Fprintln(t.stderr, "--- the console's last lines")
	for _, line := range lines {
		fmt.Fprintln(t.stderr, output.PrintableLines(line))
	}
	fmt.Fprintln(t.stderr, "---")
}

package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/units"
	"wick/framing/client"
)

// commandFlags has the flags common to all that run a command in the guest.
type commandFlags struct {
	timeout time.Duration
	env     []string
	// envFiles are to be read before env.
	envFiles []string
	root     bool
	line     bool
}

func (f *commandFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SortFlags = false
	// Flags after the first argument belong to the command, so that "exec ls -l" needs no "--".
	flags.SetInterspersed(false)
	flags.Var(units.Time(&f.timeout, 0), "timeout", "kill the command after this time; 0 for never")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "add `NAME[=VALUE]` to the command's environment, by default with this host's value; may be repeated")
	flags.StringArrayVar(&f.envFiles, "env-file", nil, "add the lines NAME[=VALUE] of a `FILE` to it; may be repeated")
	flags.BoolVarP(&f.line, "line", "c", false, "COMMAND is one line for the guest's shell")
	flags.BoolVar(&f.root, "root", false, "run as root, through sudo -n unless the agent is root")
	cmd.RegisterFlagCompletionFunc("timeout", cobra.NoFileCompletions)
	cmd.RegisterFlagCompletionFunc("env", cobra.NoFileCompletions)
}

// checkLine returns an error if the arguments are not one line, though they are to be.
func (f *commandFlags) checkLine(args []string) error {
	if f.line && len(args) != 1 {
		return exit.Usage(fmt.Errorf("-c takes one line, and %d words follow; quote the line: -c %s", len(args),
			shellQuote(strings.Join(args, " "))))
	}
	return nil
}

// exec returns the request for the flags and the arguments.
func (f *commandFlags) exec(args []string) client.Exec {
	command := shellCommand(args)
	if f.line {
		command = args[0]
	}
	return client.Exec{Command: command, Timeout: f.timeout, Env: f.env, Root: f.root}
}

// shellCommand returns the guest's command line for a program and its arguments, which are quoted.
func shellCommand(args []string) string {
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = shellQuote(arg)
	}
	return strings.Join(quoted, " ")
}

// plain has the bytes, besides letters and digits, that need no quotes anywhere in a shell command
// line. "=" is not among them, because it makes an assignment of the first word.
const plain = "%+,-./:@_"

// shellQuote quotes s for sh if it needs that.
func shellQuote(s string) string {
	quote := s == ""
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		quote = quote || !letter && strings.IndexByte(plain, c) < 0
	}
	if !quote {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// pass writes the output of a command to the tool's stdout and stderr.
func (t *tool) pass(r *client.Result) error {
	for _, out := range []struct {
		name string
		w    io.Writer
		data []byte
	}{{"stdout", t.stdout, r.Stdout}, {"stderr", t.stderr, r.Stderr}} {
		if len(out.data) == 0 {
			continue
		}
		if _, err := out.w.Write(out.data); err != nil {
			return &exit.Error{Code: exit.Own, Err: fmt.Errorf("write the command's %s: %w", out.name, err)}
		}
	}
	return nil
}

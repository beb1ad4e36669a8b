//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/keeper"
	"wick/cmd/wick/internal/machine"
	"wick/cmd/wick/internal/output"
	"wick/cmd/wick/internal/units"
)

// superviseEnv has the id of the machine whose supervisor this process is. Its parent, or a wick
// start, has made or held the machine.
const superviseEnv = "WICK_SUPERVISE"

// The descriptors of a supervisor.
const (
	lockFD   = 3 // the machine's lock
	statusFD = 4 // a pipe to the parent, for reports
)

// stayFlags has the flags of wick run for a machine that stays.
type stayFlags struct {
	name, restart, stopSignal string
	stopSeconds               int
	labels                    []string
	remove                    bool

	policy   restartPolicy
	signal   syscall.Signal // 0 until setSignal, unless the flag was given
	hasGrace bool           // --stop-timeout was given
}

func (f *stayFlags) add(cmd *cobra.Command, detach *bool) {
	flags := cmd.Flags()
	flags.BoolVarP(detach, "detach", "d", false, "print the machine's id once the command runs, and leave it running; see wick list")
	flags.StringVar(&f.name, "name", "", "`NAME` of a machine that stays (default: made up)")
	flags.StringVar(&f.restart, "restart", "no", "`POLICY` to start the command again: no, on-failure[:TRIES], always or unless-stopped")
	flags.StringVar(&f.stopSignal, "stop-signal", "", "`SIGNAL` that asks the command to end, for wick stop and TERM (default: the image's, or TERM)")
	f.stopSeconds = defaultGrace
	flags.Var(units.Seconds(&f.stopSeconds), "stop-timeout", "`SECONDS` that the command has for its end")
	flags.StringArrayVarP(&f.labels, "label", "l", nil, "`NAME=VALUE` to find the machine by; may be repeated")
	flags.BoolVar(&f.remove, "rm", false, "remove the machine when it stops; without -d that is so anyway")
	for _, name := range []string{"name", "stop-timeout", "label"} {
		cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	cmd.RegisterFlagCompletionFunc("restart", cobra.FixedCompletions([]string{"no", "on-failure", "always", "unless-stopped"}, cobra.ShellCompDirectiveNoFileComp))
}

// defaultGrace is how many seconds a command has for its end.
const defaultGrace = 10

// check checks the flags, which are those of r.
func (f *stayFlags) check(cmd *cobra.Command, r *runner) (err error) {
	f.hasGrace = cmd.Flags().Changed("stop-timeout")
	if f.name != "" {
		if err := keeper.CheckName(f.name); err != nil {
			return fmt.Errorf("--name: %w", err)
		}
	}
	if f.stopSignal != "" {
		if f.signal, err = parseSignal(f.stopSignal); err != nil {
			return fmt.Errorf("--stop-signal: there is no signal %q", f.stopSignal)
		}
	}
	if f.stopSeconds < 0 {
		return fmt.Errorf("--stop-timeout %d: want a number of seconds, or 0", f.stopSeconds)
	}
	if f.policy, err = parseRestart(f.restart); err != nil {
		return err
	}
	for _, label := range f.labels {
		if name, _, _ := strings.Cut(label, "="); name == "" {
			return fmt.Errorf("--label %q: want NAME=VALUE", label)
		}
	}
	if r.flags.detach {
		switch {
		case r.options.Keep:
			return errors.New("--keep is for a machine that does not stay; one of -d has its disk and log until wick rm")
		case r.console != "":
			return errors.New("--console is for a machine that does not stay; wick logs --console has that of one of -d")
		case f.remove && f.policy.when != restartNo:
			return errors.New("--rm and --restart exclude each other")
		}
		return nil
	}
	switch {
	case f.policy.when != restartNo:
		return errors.New("--restart is for a machine that stays; add -d")
	}
	return nil
}

// supervised reports whether this process is a supervisor.
func (f *stayFlags) supervised() bool { return os.Getenv(superviseEnv) != "" }

// state returns the state of the machine that r makes.
func (r *runner) state() *keeper.State {
	dir, _ := os.Getwd()
	s := &keeper.State{
		Name: r.stay.name, Command: output.NonNil(r.args), MemoryMiB: r.options.MemoryMiB, CPUs: r.options.CPUs,
		Labels: map[string]string{}, Remove: r.stay.remove, Args: os.Args[1:], Dir: dir,
		Ports: output.NonNil(r.publish), Published: r.publishedPorts(), StopSeconds: r.stay.stopSeconds,
	}
	if img := r.options.Image; img != nil {
		s.Image = img.Name
		for name, value := range img.Config.Config.Labels {
			s.Labels[name] = value
		}
	} else if r.saved != nil {
		s.Image = r.saved.Use.Image
		if len(s.Command) == 0 {
			s.Command = output.NonNil(r.saved.Use.Command)
		}
	} else if r.options.Rootfs != "" {
		s.Image, _ = filepath.Abs(r.options.Rootfs)
	}
	r.setSignal()
	s.StopSignal = signalName(r.stay.signal)
	for _, label := range r.stay.labels {
		name, value, _ := strings.Cut(label, "=")
		s.Labels[name] = value
	}
	return s
}

// setSignal sets the signal that asks the command to end, which may be the image's.
func (r *runner) setSignal() {
	if img := r.options.Image; img != nil && r.stay.signal == 0 {
		r.stay.signal, _ = parseSignal(img.Config.Config.StopSignal)
	}
	if r.stay.signal == 0 {
		r.stay.signal = syscall.SIGTERM
	}
}

// foreground has signals to this wick end the command as the flags and the image say.
func (r *runner) foreground() {
	r.setSignal()
	rule := &stopRule{r.stay.signal, signalGrace}
	if r.stay.hasGrace {
		rule.grace = time.Duration(r.stay.stopSeconds) * time.Second
	}
	r.t.stop.Store(rule)
}

// A report is what a supervisor tells its parent, a line of JSON.
type report struct {
	Event *machine.Event `json:"event,omitempty"`
	Ready bool           `json:"ready,omitempty"`
	// Error and Code say why the machine or its command did not start.
	Error string `json:"error,omitempty"`
	Code  int    `json:"code,omitempty"`
}

// detached makes a machine that stays, and returns once its command runs.
func (r *runner) detached(ctx context.Context, ui *runUI) error {
	// The user sees the pull of an image, and can end it.
	if err := r.openImage(ctx, ui); err != nil {
		return err
	}
	store, err := keeper.Default()
	if err != nil {
		return &exit.Error{Code: exit.Own, Err: err}
	}
	m, err := store.Create(r.state())
	if err != nil {
		return &exit.Error{Code: exit.Own, Err: err}
	}
	if err := r.host.writeID(m.ID); err != nil {
		m.Remove()
		return &exit.Error{Code: exit.Own, Err: err}
	}
	if err := r.t.launch(ctx, m, os.Args[1:], "", ui); err != nil {
		// A machine that never ran is of no use.
		if _, done := m.Wait(context.WithoutCancel(ctx)); done == nil && m.Hold() == nil {
			m.Remove()
		}
		return err
	}
	_, err = fmt.Fprintln(r.t.stdout, m.ID)
	return err
}

// launch starts the supervisor of a machine that this process holds, with the command line args of
// a wick run, in dir. It returns once the machine's command runs, and lets go of the machine.
func (t *tool) launch(ctx context.Context, m *keeper.Machine, args []string, dir string, ui *runUI) error {
	defer m.Release()
	fail := func(err error) error {
		return &exit.Error{Code: exit.Own, Err: fmt.Errorf("start the machine's supervisor: %w", err)}
	}
	self, err := os.Executable()
	if err != nil {
		return fail(err)
	}
	said, say, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	defer said.Close()
	log, err := os.OpenFile(m.Path("supervisor.log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		say.Close()
		return fail(err)
	}
	defer log.Close()
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), superviseEnv+"="+m.ID)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.ExtraFiles = []*os.File{m.Lock(), say}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it survives the terminal
	err = cmd.Start()
	say.Close()
	if err != nil {
		return fail(err)
	}
	defer context.AfterFunc(ctx, func() { cmd.Process.Signal(syscall.SIGTERM) })()
	ready, failed := follow(said, ui)
	ui.end()
	if ready && ctx.Err() == nil {
		cmd.Process.Release()
		return nil
	}
	cmd.Wait()
	if text, err := os.ReadFile(log.Name()); err == nil {
		t.stderr.Write(text)
	}
	if failed == nil {
		failed = &exit.Error{Code: exit.Own, Err: fmt.Errorf("the machine's supervisor ended: %v", cmd.ProcessState)}
	}
	return failed
}

// follow shows what a supervisor reports until the command runs, or did not start.
func follow(said io.Reader, ui *runUI) (ready bool, failed error) {
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		var r report
		switch err := json.Unmarshal(lines.Bytes(), &r); {
		case err != nil:
		case r.Event != nil:
			ui.Event(*r.Event)
		case r.Ready:
			return true, nil
		case r.Error != "":
			failed = &exit.Error{Code: r.Code, Err: errors.New(r.Error)}
		}
	}
	return false, failed
}

// restartPolicy says when a command is started again.
type restartPolicy struct {
	when  string
	tries int // 0 for no limit
}

// The policies.
const (
	restartNo        = "no"
	restartOnFailure = "on-failure"
	restartAlways    = "always"
	restartUnless    = "unless-stopped"
)

func parseRestart(s string) (restartPolicy, error) {
	when, tries, limited := strings.Cut(s, ":")
	p := restartPolicy{when: when}
	switch when {
	case restartNo, restartOnFailure, restartAlways, restartUnless:
	default:
		return p, fmt.Errorf("--restart %q: want no, on-failure[:TRIES], always or unless-stopped", s)
	}
	if limited {
		n, err := strconv.Atoi(tries)
		if err != nil || n < 1 || when != restartOnFailure {
			return p, fmt.Errorf("--restart %q: TRIES is a number above 0, and for on-failure alone", s)
		}
		p.tries = n
	}
	return p, nil
}

// again reports whether a command that ended with code is started again, after so many starts.
func (p restartPolicy) again(code, starts int) bool {
	switch p.when {
	case restartNo:
		return false
	case restartOnFailure:
		return code != 0 && (p.tries == 0 || starts <= p.tries)
	}
	return true
}

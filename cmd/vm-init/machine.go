package main

import (
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"wick/reactor/agent"
	"wick/sysinit"
)

// machine is the life of process 1: signals, arguments, boot, serving, shutdown. Every failure
// ends in the shutdown, never in an exit, because the kernel panics if process 1 exits.
type machine struct {
	cfg      sysinit.Config
	agent    agent.Options
	settings *sysinit.Settings
	wrong    []error // lines of the configuration
	mode     sysinit.Mode
	log      *agent.Log
	root     *sysinit.Root
	settled  bool     // the disks are synced and unmounted
	network  []string // words of the network configuration
	problem  string   // the cause of the shutdown, or "" if it was requested
	rooted   bool     // the root is /
	served   *agent.Agent
	last     string // where the last words are written, or "" for the default
	said     bool   // they are written
}

// claimSignals catches signals. It is called first, because SIGTERM and SIGINT end a Go program,
// even as process 1.
func (m *machine) claimSignals() {
	m.log = agent.NewLog(2, agent.LevelInfo)
	cfg := agent.Config{Init: true}
	if err := cfg.ClaimSignals(); err != nil {
		m.log.Error("signals not claimed", "error", err.Error())
	}
}

// parse reads the arguments. The valid ones take effect even if others are not, so that the host
// can be told.
func (m *machine) parse(args []string) {
	m.cfg = sysinit.Default()
	m.settings = m.newSettings()
	ignored, err := m.settings.Words(args)
	if err == nil && m.cfg.Drive != "" {
		err = m.readDrive()
	}
	m.openLog()
	if len(ignored) > 0 {
		m.log.Info("arguments ignored", "words", strings.Join(ignored, " "))
	}
	if err != nil {
		m.problem = "vm-init: " + err.Error()
	}
}

// openLog opens the log with the level that the options have.
func (m *machine) openLog() {
	m.log = m.agent.Config().Log
	m.log.Keep(keptWords)
}

// readDrive sets the options of the configuration drive. It returns the error of one that is used
// to build the root.
func (m *machine) readDrive() error {
	text, err := sysinit.ReadDrive(m.cfg.Drive, m.cfg.Wait)
	if err != nil {
		return err
	}
	m.wrong = m.settings.Text(sysinit.FromDrive, m.cfg.Drive, text)
	for _, err := range m.wrong {
		if o, ok := err.(*sysinit.OptionError); ok && o.Early {
			return err
		}
	}
	return nil
}

// readImage sets the options of the image.
func (m *machine) readImage() {
	text, err := sysinit.ReadFile(sysinit.ConfigFile)
	if e, ok := err.(*sysinit.StepError); ok && e.Errno == unix.ENOENT {
		return
	}
	if err != nil {
		m.wrong = append(m.wrong, err)
		return
	}
	m.wrong = append(m.wrong, m.settings.Text(sysinit.FromImage, sysinit.ConfigFile, text)...)
}

// checkServices returns what keeps services from being started.
func (m *machine) checkServices() (errs []error) {
	m.agent.CheckServices(func(option, reason string) {
		where, line := m.settings.Where(option)
		errs = append(errs, &sysinit.OptionError{
			Where: where, Line: line, Option: option, Reason: reason,
		})
	})
	return errs
}

// up builds the root and mounts the volumes. It reports whether that worked.
func (m *machine) up() bool {
	if m.problem == "" {
		var err error
		if m.root, err = sysinit.Up(m.cfg, m.report); err == nil {
			m.rooted = true
			m.readImage()
			m.openLog()
			err = m.root.Mount(m.cfg, m.report)
		}
		if err != nil {
			m.problem = "vm-init: " + err.Error()
		}
	}
	if m.problem != "" {
		m.tell()
		return false
	}
	for _, err := range append(m.wrong, m.checkServices()...) {
		m.log.Warn("option ignored", "error", err.Error())
	}
	m.timeline()
	return true
}

// report logs a step. The failure of a required step becomes the cause of the shutdown.
func (m *machine) report(step sysinit.Step, took time.Duration, err error) {
	switch {
	case err == nil:
		if m.log.Enabled(agent.LevelDebug) {
			m.log.Debug("step", "name", step.Name, "took", micros(took))
		}
	case !step.Required:
		m.log.Warn("step failed, going on", "name", step.Name, "error", err.Error())
	}
}

// timeline logs the start of each step, counted from the kernel's start.
func (m *machine) timeline() {
	marks := m.root.Timeline()
	if len(marks) == 0 {
		return
	}
	if m.log.Enabled(agent.LevelDebug) {
		for _, mark := range marks {
			m.log.Debug("boot", "at", micros(mark.Start), "took", micros(mark.Took), "step", mark.Step)
		}
	}
	first, last := marks[0], marks[len(marks)-1]
	m.log.Info("up", "kernel", micros(first.Start), "init", micros(last.Start+last.Took-first.Start))
}

//go:noinline
func micros(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) + "us" }

// config returns the agent's configuration.
func (m *machine) config() agent.Config {
	cfg := m.agent.Config()
	cfg.Log = m.log
	cfg.Signals, cfg.Init = true, true
	cfg.Version = version
	cfg.Env = sysinit.Environ(syscall.Environ())
	if m.root != nil && m.root.Zone() != "" {
		cfg.Env = append(cfg.Env, "TZ="+m.root.Zone())
	}
	cfg.JobCommand = agent.JobCommand
	cfg.Network = m.network
	cfg.ServeHardware()
	return cfg
}

// serve serves the host until the machine must shut down. A fault that ends the agent shuts the
// machine down.
func (m *machine) serve() {
	cfg := m.config()
	cfg.Facts = m.facts()
	if path, ok := m.lastFile(); ok {
		cfg.Facts = append(cfg.Facts, agent.TakeLast(path)...)
	}
	if fd, ok := m.root.Writable(); ok {
		cfg.FreezeFD = fd
	}
	cfg.Settle, cfg.Configure = m.settle, m.configure
	a, err := agent.New(cfg)
	if err != nil {
		m.problem = "vm-init: agent: " + err.Error()
		m.tell()
		return
	}
	m.settings.Live = m.liveOptions(a)
	m.served = a
	if err = a.Run(); err != nil {
		m.problem = "vm-init: agent: " + err.Error()
		m.say()
		return
	}
	if how, asked := a.Power(); asked {
		m.mode.Power = powers[how]
	}
}

// configure sets the options in a text of the host's. Lines that make no sense together with others
// are wrong too.
func (m *machine) configure(text []byte, wrong func(line int, reason string)) agent.Config {
	errs := m.settings.Text(sysinit.FromHost, "host", text)
	for _, err := range append(errs, m.checkServices()...) {
		if e, ok := err.(*sysinit.OptionError); ok && e.Line > 0 {
			e.Where = ""
			wrong(e.Line, e.Error())
		}
	}
	cfg := m.agent.Config()
	cfg.Facts = m.facts()
	return cfg
}

// powers has the ways of ending the machine that a host can request.
var powers = map[agent.Power]sysinit.Power{
	agent.PowerRestart: sysinit.Restart, agent.PowerOff: sysinit.PowerOff, agent.PowerHalt: sysinit.Halt,
}

// facts returns the facts of the boot for the host: the start of each step, counted from the
// kernel's start, the failures, and where each option was set. A value may be a secret.
func (m *machine) facts() (facts [][2]string) {
	m.settings.Each(func(name, where string) {
		facts = append(facts, [2]string{"config." + name, where})
	})
	for i, err := range append(m.wrong, m.checkServices()...) {
		facts = append(facts, [2]string{"degraded.config." + strconv.Itoa(i+1), err.Error()})
	}
	for _, mark := range m.root.Timeline() {
		facts = append(facts, [2]string{"boot." + mark.Step, micros(mark.Start) + " took " + micros(mark.Took)})
		if mark.Err != nil {
			facts = append(facts, [2]string{"degraded." + mark.Step, mark.Err.Error()})
		}
	}
	return facts
}

// settle ends all processes, and syncs and unmounts the disks.
func (m *machine) settle() error {
	m.lastWords()
	err := m.root.Settle(sysinit.SettleLimit, m.downStep)
	m.settled = true
	return err
}

// downStep logs a step of the shutdown that failed.
func (m *machine) downStep(step sysinit.Step, _ time.Duration, err error) {
	if err != nil {
		m.log.Error("going down", "step", step.Name, "error", err.Error())
	}
}

// tell reports why the machine cannot serve: on the console, in the kernel's log, and to the host
// if it can be reached.
func (m *machine) tell() {
	m.say()
	cfg := m.config()
	cfg.LastWords = m.problem
	a, err := agent.New(cfg)
	if err == nil {
		err = a.Run()
	}
	if err != nil {
		m.log.Error("host not told", "error", err.Error())
	}
}

// say writes the problem to the console and the kernel's log.
func (m *machine) say() {
	m.log.Error(m.problem)
	fd, err := unix.Open("/dev/kmsg", unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	unix.Write(fd, []byte("<2>"+m.problem+"\n"))
	unix.Close(fd)
}

// end shuts the machine down. It is deferred, so that it runs after a panic too.
func (m *machine) end() {
	if value := recover(); value != nil {
		m.problem = "vm-init: panic"
		if err, ok := value.(error); ok {
			m.problem += ": " + err.Error()
		} else if text, ok := value.(string); ok {
			m.problem += ": " + text
		}
		m.say()
		stack := make([]byte, 4<<10)
		m.log.Error("panic", "in", "init", "stack", string(stack[:runtime.Stack(stack, false)]))
	}
	m.log.Info("going down")
	if !m.settled {
		m.lastWords()
	}
	m.mode.Discard = m.settled // not twice
	err := m.root.Down(m.mode, m.downStep)
	m.log.Error("machine does not go down", "error", err.Error())
	if e, ok := err.(*sysinit.StepError); ok && e.Errno == unix.EPERM {
		syscall.Exit(1) // a container ends with its process 1; only a machine cannot be left
	}
	for {
		unix.Pause() // nothing is left to do, and the kernel panics if process 1 exits
	}
}

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

// machine is the life of process 1: signals, arguments, the way up, serving, the way down. Whatever goes wrong on the way, the end
// of it is the way down and never an exit, which the kernel answers with a panic.
type machine struct {
	cfg     sysinit.Config
	agent   agent.Options
	mode    sysinit.Mode
	log     *agent.Log
	root    *sysinit.Root
	settled bool   // the disks were brought to their end
	problem string // why it ends, if not because it was told to
}

// claimSignals comes first: until then SIGTERM and SIGINT are the end of a Go program, even of process 1.
func (m *machine) claimSignals() {
	m.log = agent.NewLog(2, agent.LevelInfo)
	cfg := agent.Config{Init: true}
	if err := cfg.ClaimSignals(); err != nil {
		m.log.Error("signals not claimed", "error", err.Error())
	}
}

// parse reads the arguments. All that is right in them holds even if something is wrong, so that the host can be told.
func (m *machine) parse(args []string) {
	m.cfg = sysinit.Default()
	ignored, err := sysinit.Parse(args, m.cfg.Options(), m.options())
	m.log = m.agent.Config().Log
	if len(ignored) > 0 {
		m.log.Info("arguments ignored", "words", strings.Join(ignored, " "))
	}
	if err != nil {
		m.problem = "vm-init: " + err.Error()
	}
}

// up builds the root, and reports whether there is one to serve from.
func (m *machine) up() bool {
	if m.problem == "" {
		var err error
		if m.root, err = sysinit.Up(m.cfg, m.report); err != nil {
			m.problem = "vm-init: " + err.Error()
		}
	}
	if m.problem != "" {
		m.tell()
		return false
	}
	m.timeline()
	return true
}

// report logs a step. What was required and failed is said with the last words.
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

// timeline logs when each step began, counted from the kernel's own start.
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

// config is the agent's configuration in this machine.
func (m *machine) config() agent.Config {
	cfg := m.agent.Config()
	cfg.Signals, cfg.Init = true, true
	cfg.Version = version
	cfg.Env = sysinit.Environ(syscall.Environ())
	cfg.JobCommand = agent.JobCommand
	return cfg
}

// serve serves the host until the machine is to go down. A fault that ends the agent ends the machine, in order.
func (m *machine) serve() {
	cfg := m.config()
	cfg.Facts = m.facts()
	if fd, ok := m.root.Writable(); ok {
		cfg.FreezeFD = fd
	}
	cfg.Settle = m.settle
	a, err := agent.New(cfg)
	if err != nil {
		m.problem = "vm-init: agent: " + err.Error()
		m.tell()
		return
	}
	if err = a.Run(); err != nil {
		m.problem = "vm-init: agent: " + err.Error()
		m.say()
		return
	}
	if power, asked := powers[a.Power()]; asked {
		m.mode.Power = power
	}
}

// powers are the ends that a host can ask for.
var powers = map[agent.Power]sysinit.Power{
	agent.PowerRestart: sysinit.Restart, agent.PowerOff: sysinit.PowerOff, agent.PowerHalt: sysinit.Halt,
}

// facts tell a host how the boot went: when each step began, counted from the kernel's start, and what failed.
func (m *machine) facts() (facts [][2]string) {
	for _, mark := range m.root.Timeline() {
		facts = append(facts, [2]string{"boot." + mark.Step, micros(mark.Start) + " took " + micros(mark.Took)})
		if mark.Err != nil {
			facts = append(facts, [2]string{"degraded." + mark.Step, mark.Err.Error()})
		}
	}
	return facts
}

// settle brings the disks to their end, with nothing left that uses them.
func (m *machine) settle() error {
	err := m.root.Settle(sysinit.SettleLimit, m.downStep)
	m.settled = true
	return err
}

// downStep logs a step down that failed.
func (m *machine) downStep(step sysinit.Step, _ time.Duration, err error) {
	if err != nil {
		m.log.Error("going down", "step", step.Name, "error", err.Error())
	}
}

// tell says why a machine cannot serve: on the console, in the kernel's log, and to the host if it
// can be reached.
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

// say writes the problem where somebody may look for it.
func (m *machine) say() {
	m.log.Error(m.problem)
	fd, err := unix.Open("/dev/kmsg", unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	unix.Write(fd, []byte("<2>"+m.problem+"\n"))
	unix.Close(fd)
}

// end takes the machine down. It is deferred, so that a panic leads here too.
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
	m.mode.Discard = m.settled // once is enough
	err := m.root.Down(m.mode, m.downStep)
	m.log.Error("machine does not go down", "error", err.Error())
	if e, ok := err.(*sysinit.StepError); ok && e.Errno == unix.EPERM {
		syscall.Exit(1) // it is a container, which ends so: the process 1 of a machine may
	}
	for {
		unix.Pause() // there is nothing left to do, and to exit would be a panic of the kernel
	}
}

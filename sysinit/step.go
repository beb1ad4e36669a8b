//go:build linux

package sysinit

import (
	"time"

	"golang.org/x/sys/unix"
)

// row is one thing to do: data that prints itself and can be run.
type row interface {
	String() string
	run(*machine) error
}

// Step is a line of the table: rows done in order, up to the first that fails.
type Step struct {
	// Name is short and unique, "overlay disk".
	Name string
	// Required steps end Up when they fail. Without what the others give the machine is poorer, but it can be
	// reached and asked what is wrong.
	Required bool

	rows []row
}

// String is the step as a line of text: "/run: mount tmpfs on /run (nosuid,nodev,mode=0755,size=10%)".
func (s Step) String() string {
	text := s.Name + ": "
	for i, r := range s.rows {
		if i > 0 {
			text += "; "
		}
		text += r.String()
	}
	return text
}

// Mark is when a step was done, for a timeline of the boot.
type Mark struct {
	Step string
	// Start counts from the kernel's own start (CLOCK_BOOTTIME).
	Start, Took time.Duration
	// Err is nil for a step that did its work.
	Err error
}

// Report is told of each step once it is over. It may be nil.
type Report func(step Step, took time.Duration, err error)

// machine is what the steps of Up hand on to each other.
type machine struct {
	cfg   Config
	kinds kinds
	root  *Root

	// bench is the descriptor of the working mount's root, overlay that of the new root; -1 while there is none.
	bench, overlay int
	// held are the directories of the image that mounts hide.
	held []held
	// nodes says what the working mount has at dev.
	nodes nodes
	// bareDev says that /dev is no devtmpfs: the nodes in it are made by hand.
	bareDev bool
	// name is the host name that was set.
	name string
	// image is the mark of the image, and redirect says that the overlay may have directories of it renamed.
	image    [8]byte
	redirect bool
	// drives are the devices found, for a /dev that must be made by hand.
	drives []drive
}

// kinds names the file system types. Tests name some that do not exist, to meet a kernel that lacks them.
type kinds struct {
	base, disk, overlay, dev string
}

type drive struct {
	path   string
	number uint64
}

// Up builds the machine, step by step as Plan shows them, and returns it with the new root as its root and working
// directory. It wants to be process 1 (EPERM otherwise: a mistaken run must not pivot somebody's workstation), on the main thread before
// others call into the file system, and is not to be called twice. It leaves the umask at 022.
//
// An error is a *StepError of a required step. The old root is still the root then, and whatever was mounted on the
// way is gone again, unless the step was "root" or a later one. The Root is never nil: it knows the way down however far
// the way up has led.
func Up(cfg Config, report Report) (*Root, error) {
	return up(cfg, kinds{base: "squashfs", disk: "ext4", overlay: "overlay", dev: "devtmpfs"}, report)
}

func up(cfg Config, k kinds, report Report) (*Root, error) {
	m := &machine{cfg: cfg, kinds: k, root: &Root{upper: -1, disk: -1}, bench: -1, overlay: -1, redirect: cfg.Overlay == Tmpfs}
	if pid := unix.Getpid(); pid != 1 {
		return m.root, &StepError{Op: "come up", Errno: unix.EPERM, Hint: "not process 1"}
	}
	// Modes in the table are the modes of the nodes.
	unix.Umask(0)
	defer unix.Umask(0o022)
	defer m.release()
	for _, s := range Plan(cfg) {
		if err := m.do(s, report); err != nil && s.Required {
			m.undo()
			return m.root, err
		}
	}
	return m.root, nil
}

func (m *machine) do(s Step, report Report) error {
	start := uptime()
	var err error
	for _, r := range s.rows {
		if err = r.run(m); err != nil {
			break
		}
	}
	if e, ok := err.(*StepError); ok {
		e.Step = s.Name
	}
	took := uptime() - start
	m.root.marks = append(m.root.marks, Mark{s.Name, start, took, err})
	if report != nil {
		report(s, took, err)
	}
	return err
}

// undo takes down what a failed step leaves while the old root is still the root: the working mount and with it the base and the
// overlay disk, so that the disk is clean. Once the working mount is gone the pinned descriptor stays: it is then what
// the way down needs.
func (m *machine) undo() {
	if m.overlay >= 0 {
		unix.Close(m.overlay)
		m.overlay = -1
	}
	if m.bench < 0 {
		return
	}
	m.root.letGo()
	m.clearBench()
	unix.Chdir("/")
}

// call is a row that is more than data.
type call struct {
	text string
	fn   func(*machine) error
}

func (c call) String() string       { return c.text }
func (c call) run(m *machine) error { return c.fn(m) }

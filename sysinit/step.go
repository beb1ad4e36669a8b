//go:build linux

package sysinit

import (
	"time"

	"golang.org/x/sys/unix"
)

// row is one action: data that prints itself and can be run.
type row interface {
	String() string
	run(*machine) error
}

// Step is a line of the table. Its rows run in order, up to the first that fails.
type Step struct {
	// Name is short and unique, "overlay disk".
	Name string
	// Required says that Up fails if the step fails. Without the other steps the machine lacks
	// something, but the host can reach it and ask what is wrong.
	Required bool

	rows []row
}

// String returns a line such as "/run: mount tmpfs on /run (nosuid,nodev,mode=0755,size=10%)".
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

// Mark records when a step was done, for a timeline of the boot.
type Mark struct {
	Step string
	// Start counts from the start of the kernel (CLOCK_BOOTTIME).
	Start, Took time.Duration
	// Err is nil if the step succeeded.
	Err error
}

// Report is called after each step. It may be nil.
type Report func(step Step, took time.Duration, err error)

// machine is the state that the steps of Up share.
type machine struct {
	cfg   Config
	kinds kinds
	root  *Root

	// workMount is the descriptor of the working mount's root, and overlay that of the new root.
	// Both are -1 while not open.
	workMount, overlay int
	// held lists the directories of the image that mounts hide.
	held []held
	// nodes says what the working mount has at dev.
	nodes nodes
	// bareDev says that /dev is not a devtmpfs, so its nodes are made by hand.
	bareDev bool
	// name is the host name that was set.
	name string
	// image is the mark of the image. redirect says that overlayfs may rename the image's
	// directories.
	image    [8]byte
	layers   int // of the image
	redirect bool
	// drives lists the devices found, for a /dev made by hand.
	drives []drive
	// deadline limits the wait for devices, as uptime. Zero means Config.Wait from the start of
	// each.
	deadline time.Duration
}

// kinds names the file system types. Tests name missing ones, like a kernel that lacks them.
type kinds struct {
	base, disk, overlay, dev string
}

type drive struct {
	path   string
	number uint64
}

// Up builds the machine in the steps that Plan returns. The new root becomes the root and working
// directory. Up must be called once, in process 1, on the main thread, before other threads use the
// file system. In another process it fails with EPERM, because a mistaken run must not change the
// root of a workstation. It leaves the umask at 022.
//
// An error is the *StepError of a required step. The old root is then still the root and all mounts
// are undone, unless the step was "root" or a later one. The Root is never nil: it can shut down
// whatever has come up.
func Up(cfg Config, report Report) (*Root, error) {
	return up(cfg, linuxKinds, report)
}

var linuxKinds = kinds{base: "squashfs", disk: "ext4", overlay: "overlay", dev: "devtmpfs"}

func up(cfg Config, k kinds, report Report) (*Root, error) {
	m := newMachine(&cfg, &Root{upper: -1, disk: -1})
	m.kinds = k
	if pid := unix.Getpid(); pid != 1 {
		return m.root, &StepError{Op: "come up", Errno: unix.EPERM, Hint: "not process 1"}
	}
	// The modes in the table must not be masked.
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

// newMachine returns the state before the first step.
func newMachine(cfg *Config, r *Root) *machine {
	return &machine{cfg: *cfg, kinds: linuxKinds, root: r, workMount: -1, overlay: -1,
		redirect: cfg.Overlay == Tmpfs}
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

// undo unmounts what a failed step leaves while the old root is still the root. The working mount
// goes with the base and the overlay disk, so that the disk is clean. If the working mount has gone
// already, the pinned descriptor stays, because the shutdown needs it.
func (m *machine) undo() {
	if m.overlay >= 0 {
		unix.Close(m.overlay)
		m.overlay = -1
	}
	if m.workMount < 0 {
		return
	}
	m.root.close()
	m.closeWorkMount()
	unix.Chdir("/")
}

// call is a row that runs a function.
type call struct {
	text string
	fn   func(*machine) error
}

func (c call) String() string       { return c.text }
func (c call) run(m *machine) error { return c.fn(m) }

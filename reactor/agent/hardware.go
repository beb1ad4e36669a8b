package agent

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/disks"
	"wick/reactor/agent/internal/hotplug"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/sys"
)

// Job is work that a child process of the program does.
type Job = launch.Job

// Hardware does what an agent itself does not know: mounts, disks and processors. Each function is
// called in a child process.
type Hardware struct {
	// Mount mounts a volume, whose device may take wait to appear. If mounted is true, the error is
	// about what follows. Descriptor 0 is FreezeFD of the agent's Config, or /dev/null.
	Mount func(volume string, wait time.Duration) (mounted bool, err error)
	// Unmount unmounts what is mounted at target.
	Unmount func(target string, lazy bool) error
	// Trim gives unused blocks back to the host, and returns their bytes. Grow resizes an ext4 to
	// its device, and returns its size. An empty path means every disk.
	Trim, Grow func(path string) (bytes uint64, err error)
	// Disks returns names and texts about the disks.
	Disks func() [][2]string
	// Online has the kernel use processors that came.
	Online func() error
}

// Jobs returns the jobs for Main, of a program whose agent serves hardware.
func (h *Hardware) Jobs() []Job {
	w := disks.Work{Mount: h.Mount, Unmount: h.Unmount, Trim: h.Trim, Grow: h.Grow, Show: h.Disks}
	return append(w.Jobs(), hotplug.Job(h.Online))
}

// ServeHardware has the agent serve mount, unmount and disk, and use processors that come. It needs
// the jobs of a Hardware. A program that does not call it does not contain the code.
func (c *Config) ServeHardware() { c.hardware = openHardware }

// hardware has the rooms about hardware.
type hardware interface {
	AddFigures(f *framing.Figures)
	Stop()
	Close()
}

type rooms struct {
	*disks.Service
	hotplug *hotplug.Service
}

// Close implements hardware.
func (r rooms) Close() {
	r.Service.Close()
	r.hotplug.Close()
}

func openHardware(a *Agent) hardware {
	return rooms{
		disks.NewService(disks.Config{
			Loop: a.loop, Log: a.log, Garbage: &a.garbage, Server: a.server, Disk: &a.disk,
			Jobs: a.jobs, Root: a.cfg.FreezeFD, Null: a.null,
		}),
		hotplug.New(hotplug.Config{Loop: a.loop, Log: a.log, Jobs: a.jobs, Null: a.null}),
	}
}

// noHardware is the hardware of an agent without it.
type noHardware struct{}

func (noHardware) AddFigures(*framing.Figures) {}
func (noHardware) Stop()                       {}
func (noHardware) Close()                      {}

var errNoHardware = &sys.WordedError{Errno: unix.EOPNOTSUPP, Words: "this agent has no mounts and disks"}

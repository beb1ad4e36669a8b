package disks

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/sys"
)

// Work does what hosts ask for. Each function is called in a child process. Descriptor 0 is a
// directory of the disk that takes the root's writes, or /dev/null. An error that wraps no errno is
// sent as EINVAL.
type Work struct {
	// Mount mounts a volume, whose device may take wait to appear. If mounted is true, the error is
	// about what follows.
	Mount func(volume string, wait time.Duration) (mounted bool, err error)
	// Unmount unmounts what is mounted at target.
	Unmount func(target string, lazy bool) error
	// Trim gives unused blocks back to the host, and returns their bytes. Grow resizes an ext4 to
	// its device, and returns its size. An empty path means every disk.
	Trim, Grow func(path string) (bytes uint64, err error)
	// Show returns names and texts about the disks.
	Show func() [][2]string
}

// The names of the jobs.
const (
	mountJob   = "mount"
	unmountJob = "unmount"
	trimJob    = "trim"
	growJob    = "grow"
	showJob    = "disks"
)

// Jobs returns the jobs that the program of the agent must have.
func (w Work) Jobs() []launch.Job {
	bytes := func(name string, f func(string) (uint64, error)) launch.Job {
		return launch.Job{Name: name, Do: func(path string) error { return report(f(path)) }}
	}
	return []launch.Job{
		{Name: mountJob, Do: func(argument string) error {
			ms, volume, _ := sys.Cut(argument, ' ')
			n, _ := sys.ParseNumber(ms)
			mounted, err := w.Mount(volume, time.Duration(n)*time.Millisecond)
			var value uint64
			if mounted {
				value = 1
			}
			return report(value, err)
		}},
		{Name: unmountJob, Do: func(argument string) error {
			lazy, target, _ := sys.Cut(argument, ' ')
			return report(0, w.Unmount(target, lazy == "1"))
		}},
		bytes(trimJob, w.Trim),
		bytes(growJob, w.Grow),
		{Name: showJob, Do: func(string) error {
			var b []byte
			for _, fact := range w.Show() {
				b = append(append(append(append(b, fact[0]...), 0), fact[1]...), 0)
			}
			unix.Write(1, b[:min(len(b), maxOutput)])
			return nil
		}},
	}
}

// maxOutput is the longest output of a job, in bytes. A pipe holds it.
const maxOutput = 32 << 10

// report writes the result of a job: a value of eight bytes, and the text of the error. It returns
// the errno.
func report(value uint64, err error) error {
	var b []byte
	for i := range 8 {
		b = append(b, byte(value>>(8*i)))
	}
	errno := unix.Errno(0)
	if err != nil {
		b = append(b, err.Error()...)
		if errno = sys.ErrnoOf(err); errno == 0 {
			errno = unix.EINVAL
		}
	}
	unix.Write(1, b[:min(len(b), maxOutput)])
	return errno
}

package reactor

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() { roles["signalfd"] = signalfd }

// TestSignalfdLosesSignalsInAGoProcess shows why this package does not use signalfd. It blocks
// signals in every possible way at once: the process starts with all blocked and ignored, and every
// thread blocks them again. SIGTERM and SIGCHLD still go past the signalfd, because the runtime
// unblocks them in each thread that it starts. One of those takes the signal. The number depends on
// which thread the kernel wakes first, and one is too many. If this test ever fails, signalfd has
// become usable, and signal_unsafe.go and the assembly can be removed.
func TestSignalfdLosesSignalsInAGoProcess(t *testing.T) {
	t.Parallel()
	// A process may be lucky for as long as it runs, if none of its threads wakes up.
	const times, processes = 300, 40
	told := map[string]int{}
	lost := func(sig unix.Signal) bool { return told[fmt.Sprint(sig, " lost")] > 0 }
	for range processes {
		s := startSignaled(t, role(t, "dirty start", "DIRTY_NEXT=signalfd"))
		for range times {
			for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGCHLD} {
				s.send(sig)
				told[fmt.Sprint(sig, " ", s.line())]++
			}
		}
		s.end()
		if lost(unix.SIGTERM) && lost(unix.SIGCHLD) {
			t.Logf("%v", told)
			return
		}
	}
	t.Errorf("signalfd lost none of a signal in %d processes, so it can be used: %v", processes, told)
}

func signalfd() error {
	// The claim keeps the process alive and counts the signals that go past the signalfd.
	if err := ClaimSignals(unix.SIGTERM, unix.SIGCHLD); err != nil {
		return err
	}
	runtime.LockOSThread()
	var set unix.Sigset_t
	mask := uint64(1)<<(unix.SIGTERM-1) | 1<<(unix.SIGCHLD-1)
	*(*uint64)(unsafe.Pointer(&set)) = mask
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil); err != nil {
		return err
	}
	// The runtime blocks the signals in a signal handler of the other threads, whose return
	// restores the mask. A build with cgo refuses.
	allThreads(mask)
	fd, err := unix.Signalfd(-1, &set, unix.SFD_NONBLOCK|unix.SFD_CLOEXEC)
	if err != nil {
		return err
	}
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	for _, fd := range []int{fd, int(wakeFD)} {
		if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			return err
		}
	}
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, 0, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		return err
	}
	var info [unsafe.Sizeof(unix.SignalfdSiginfo{})]byte
	var events [1]unix.EpollEvent
	fmt.Println("ready")
	for {
		n, err := unix.EpollWait(epfd, events[:], -1)
		switch {
		case n < 1:
			if err != unix.EINTR {
				return err
			}
			continue
		case events[0].Fd == 0:
			return nil
		}
		// The claimed signals' handler writes to an eventfd. It shows the signals that the signalfd
		// never gets.
		way := "by signalfd"
		if n, _ := unix.Read(fd, info[:]); n <= 0 {
			if n, _ := unix.Read(int(wakeFD), info[:8]); n <= 0 {
				continue // another thread took it after the event; its handler is about to say so
			}
			way = "lost"
		}
		takeSignals()
		fmt.Println(way)
	}
}

func allThreads(mask uint64) {
	syscall.AllThreadsSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, uintptr(unsafe.Pointer(&mask)), 0, 8, 0, 0)
}

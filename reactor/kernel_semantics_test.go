package reactor

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// These tests hold what this package assumes of the kernel. If one fails, the code that relies on
// it is wrong on that kernel.

// watch returns a bare epoll set with one descriptor.
func watch(t *testing.T, fd int, events uint32) (epfd int) {
	t.Helper()
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(epfd) })
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		t.Fatal(err)
	}
	return epfd
}

// ready returns what epoll reports of the descriptor now, or 0.
func ready(t *testing.T, epfd int) uint32 {
	t.Helper()
	var ev [1]unix.EpollEvent
	n, err := unix.EpollWait(epfd, ev[:], 0)
	if err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		return 0
	}
	return ev[0].Events
}

// wantReady fails the test if epoll reports anything else. when describes what happened before.
func wantReady(t *testing.T, epfd int, want uint32, when string) {
	t.Helper()
	if got := ready(t, epfd); got != want {
		t.Errorf("%s: epoll reports %#x, want %#x", when, got, want)
	}
}

func TestKernelHangupCannotBeMasked(t *testing.T) {
	t.Parallel()
	r, w := pipe(t)
	defer unix.Close(r)
	epfd := watch(t, r, unix.EPOLLIN)
	write(t, w, "x")
	closeFD(t, w)
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_MOD, r, &unix.EpollEvent{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		wantReady(t, epfd, unix.EPOLLHUP, "modified to no events")
	}
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_DEL, r, nil); err != nil {
		t.Fatal(err)
	}
	wantReady(t, epfd, 0, "deleted")
}

func TestKernelLevelTriggered(t *testing.T) {
	t.Parallel()
	r, w := pipe(t)
	defer unix.Close(r)
	defer unix.Close(w)
	epfd := watch(t, r, unix.EPOLLIN)
	write(t, w, "xy")
	for range 3 {
		wantReady(t, epfd, unix.EPOLLIN, "not read")
	}
	drain(t, r)
	wantReady(t, epfd, 0, "an empty pipe")
}

// TestKernelClosedDuplicateStillReports closes a descriptor in an epoll set while a duplicate
// lives. Epoll watches the open file, so it still reports it, and the number cannot be deleted any
// more.
func TestKernelClosedDuplicateStillReports(t *testing.T) {
	t.Parallel()
	r, w := pipe(t)
	defer unix.Close(w)
	duplicate, err := unix.FcntlInt(uintptr(r), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	epfd := watch(t, r, unix.EPOLLIN)
	closeFD(t, r)
	write(t, w, "x")
	wantReady(t, epfd, unix.EPOLLIN, "with a duplicate open")
	closeFD(t, duplicate)
	wantReady(t, epfd, 0, "with none open")
}

func TestKernelUnixHangup(t *testing.T) {
	t.Parallel()
	ours, far := pair(t)
	defer unix.Close(ours)
	epfd := watch(t, ours, unix.EPOLLIN|unix.EPOLLRDHUP)
	write(t, far, "x")
	if err := unix.Shutdown(far, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	wantReady(t, epfd, unix.EPOLLIN|unix.EPOLLRDHUP, "half closed")
	closeFD(t, far)
	wantReady(t, epfd, unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP, "closed")
	if got := string(drain(t, ours)); got != "x" {
		t.Errorf("read %q after the hang-up, want x", got)
	}
	if _, err := send(ours, []byte("x")); err != unix.EPIPE {
		t.Errorf("send = %v, want EPIPE", err)
	}
}

func TestKernelPipeHangupKeepsData(t *testing.T) {
	t.Parallel()
	r, w := pipe(t)
	defer unix.Close(r)
	epfd := watch(t, r, unix.EPOLLIN)
	write(t, w, "x")
	closeFD(t, w)
	wantReady(t, epfd, unix.EPOLLIN|unix.EPOLLHUP, "closed with a byte unread")
	if got := string(drain(t, r)); got != "x" {
		t.Errorf("read %q, want x", got)
	}
	wantReady(t, epfd, unix.EPOLLHUP, "read empty")
}

// TestKernelUnixReset closes a far end that has unread bytes, which resets the connection. The
// bytes that it sent before are read first, and then the error, once.
func TestKernelUnixReset(t *testing.T) {
	t.Parallel()
	ours, far := pair(t)
	defer unix.Close(ours)
	epfd := watch(t, ours, unix.EPOLLIN)
	write(t, ours, "never read")
	write(t, far, "last words")
	closeFD(t, far)
	wantReady(t, epfd, unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR, "closed with bytes unread on both sides")
	b := make([]byte, 100)
	if n, err := recv(ours, b); string(b[:n]) != "last words" {
		t.Errorf("the first read returns %q, %v, want %q", b[:n], err, "last words")
	}
	if _, err := recv(ours, b); err != unix.ECONNRESET {
		t.Errorf("the second read returns %v, want ECONNRESET", err)
	}
	if n, err := recv(ours, b); n != 0 || err != nil {
		t.Errorf("the third read returns %d, %v, want 0 and no error", n, err)
	}
}

func TestKernelSocketError(t *testing.T) {
	t.Parallel()
	ours, far := pair(t)
	defer unix.Close(ours)
	write(t, ours, "never read")
	closeFD(t, far)
	for _, want := range []unix.Errno{unix.ECONNRESET, 0} { // SO_ERROR is cleared when it is read
		if got, err := unix.GetsockoptInt(ours, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || unix.Errno(got) != want {
			t.Errorf("SO_ERROR is %v, %v; want %v", unix.Errno(got), err, want)
		}
	}
}

// TestKernelConnectToFullBacklog holds that EAGAIN from connect on a Unix socket is final. No
// attempt is under way, and no event follows.
func TestKernelConnectToFullBacklog(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/s"
	ln, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ln)
	if err := unix.Bind(ln, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(ln, 0); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		if err == unix.EAGAIN && i > 0 {
			if got := ready(t, watch(t, fd, unix.EPOLLOUT)); got&unix.EPOLLHUP == 0 {
				t.Errorf("epoll reports %#x for a refused connect, want EPOLLHUP", got)
			}
			return
		}
		if err != nil || i > 3 {
			t.Fatalf("connection %d = %v, want EAGAIN by the fourth", i, err)
		}
	}
}

// TestKernelSocketModeBeforeBind holds that the file of a socket has the mode that the socket had
// before bind, less the umask, and never a wider one. It is not parallel, because the umask belongs
// to the whole process.
func TestKernelSocketModeBeforeBind(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	path := t.TempDir() + "/s"
	fd, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("the mode is %o, want 600", got)
	}
}

func TestKernelEpollRefusesFiles(t *testing.T) {
	t.Parallel()
	fd, err := unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(epfd)
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN}); err != unix.EPERM {
		t.Errorf("epoll_ctl of a regular file = %v, want EPERM", err)
	}
}

// TestKernelEmptyReadLooksLikeTheEnd holds that a read into an empty buffer returns 0, as at end of
// file.
func TestKernelEmptyReadLooksLikeTheEnd(t *testing.T) {
	t.Parallel()
	ours, far := pair(t)
	defer unix.Close(ours)
	defer unix.Close(far)
	write(t, far, "x")
	if n, err := recv(ours, nil); n != 0 || err != nil {
		t.Errorf("read into no room = %d, %v, want 0 and no error", n, err)
	}
}

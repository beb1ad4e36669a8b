package reactor

import "golang.org/x/sys/unix"

// spliceMost is the capacity of a stream's own pipe in bytes.
const spliceMost = 256 << 10

// SpliceFrom moves up to n bytes from a pipe or a socket to a pipe of the stream's own, without a
// copy. They are queued behind everything queued so far. If it moved any, the caller queues what
// goes before them, which may tell their number, with [Stream.CommitSpliced]. The stream must not
// be busy.
//
// The error is EAGAIN if fd has no bytes, and nil with no bytes at its end. The caller has to copy
// after EOPNOTSUPP, because the stream is no Unix socket, and after EBUSY, because bytes of an
// earlier call are queued. It has to copy after EINVAL, EMFILE, ENFILE and ENOMEM too. Any other
// error is the socket's, which tells it once. A vsock is refused because kernels before 6.5 send
// the pages of a pipe one by one, in packets of 4 KiB.
func (s *Stream) SpliceFrom(fd, n int) (int, error) {
	if s.loop == nil {
		return 0, unix.EBADF
	}
	if s.Busy() {
		panic("reactor: splice to a busy stream")
	}
	if s.spliced > 0 {
		return 0, unix.EBUSY
	}
	if err := s.needPipe(); err != nil {
		return 0, err
	}
	for {
		moved, err := splice(fd, s.pipe[1], n)
		if err == unix.EINTR {
			continue
		}
		s.spliced, s.mark = moved, s.tail
		return moved, err
	}
}

// CommitSpliced queues what was appended to Space before the bytes that SpliceFrom moved.
func (s *Stream) CommitSpliced(b []byte) {
	s.Commit(b)
	s.mark = s.tail
}

// ReleasePipe closes the stream's own pipe, unless it has bytes. The next SpliceFrom makes another.
func (s *Stream) ReleasePipe() {
	if s.pipe[1] > 0 && s.spliced == 0 {
		s.dropPipe()
	}
}

// needPipe makes the pipe, which stays for the next time.
func (s *Stream) needPipe() error {
	if s.pipe[1] > 0 {
		return nil
	}
	if !s.isLocal() {
		return unix.EOPNOTSUPP
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return err
	}
	s.pipe = p
	// It may be refused to a user that has many pipes. Then frames are shorter.
	unix.FcntlInt(uintptr(p[0]), unix.F_SETPIPE_SZ, spliceMost)
	return nil
}

// isLocal reports whether the stream is a Unix socket, which takes pages without a copy.
func (s *Stream) isLocal() bool {
	if !s.asked {
		domain, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		s.asked, s.local = true, err == nil && domain == unix.AF_UNIX
	}
	return s.local
}

// dropPipe closes the pipe, with what is in it.
func (s *Stream) dropPipe() {
	if s.pipe[1] > 0 {
		shut(s.pipe[0])
		shut(s.pipe[1])
	}
	s.pipe, s.spliced, s.asked = [2]int{}, 0, false
}

// Diverter takes some of a stream's bytes to a pipe.
type Diverter interface {
	// Divert returns the pipe for the next bytes, and how many it gets. If fd is negative, or
	// the pipe takes nothing, Input gets them.
	Divert() (fd, n int)
	// Diverted is told that n bytes went to the pipe.
	Diverted(n int)
}

// DivertTo asks d before each read from now on. Its bytes go by splice(2), without a copy. It
// reports false, and does nothing, if the stream is no Unix socket.
func (s *Stream) DivertTo(d Diverter) bool {
	if !s.isLocal() {
		return false
	}
	s.diverter = d
	return true
}

// divert moves the next bytes to the handler's pipe. It reports false if they are to be read.
func (s *Stream) divert() bool {
	if s.diverter == nil || s.kept > 0 {
		return false
	}
	fd, n := s.diverter.Divert()
	if fd < 0 {
		return false
	}
	moved, err := splice(s.fd, fd, n)
	switch {
	case moved > 0:
		s.diverter.Diverted(moved)
	case err == unix.ECONNRESET:
		s.fail("read", err) // the socket tells it once
	default:
		return false // a read tells what it is
	}
	return true
}

// FileSource is a source some of whose bytes lie in a file. They go to a Unix socket by
// sendfile(2).
type FileSource interface {
	Source
	// File returns where the next bytes lie, and how many there are. If there are 0, or they
	// could not be sent, Fill is asked.
	File() (fd int, offset, size int64)
	// Took is told that n of them were sent.
	Took(n int)
}

// giveFile sends the next bytes of the source's file. If they cannot be read, the source is asked
// for them.
func (s *Stream) giveFile() (int, error) {
	fd, offset, size := s.file.File()
	n, err := sendfile(s.fd, fd, offset, int(min(size, spliceMost)))
	switch v := judge(err); {
	case n > 0:
		s.file.Took(n)
	case v == fine || v == broken:
		s.unreadable, err = true, unix.EINTR
	}
	s.file = nil
	return n, err
}

// give writes the next queued bytes to the socket. There are some.
func (s *Stream) give() (n int, err error) {
	if s.file != nil {
		return s.giveFile()
	}
	end := s.tail
	if s.spliced > 0 {
		end = s.mark
	}
	if s.head == end {
		n, err = splice(s.pipe[0], s.fd, s.spliced)
		if err == nil && n == 0 {
			err = unix.EIO // its pipe is the stream's alone
		}
		s.spliced -= n
		return n, err
	}
	b := s.out[s.head:end]
	n, err = send(s.fd, b)
	if len(b) > smallWrite && judge(err) == exhausted {
		n, err = send(s.fd, b[:smallWrite])
	}
	s.head += n
	return n, err
}

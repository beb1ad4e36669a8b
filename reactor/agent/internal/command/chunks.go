package command

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// chunks sends the stdout of a spawn_watch as the command writes it. Bytes go from the pipe into
// the buffer of a connection, in that connection's turns. It is the connection to which the
// process_exit would go. Without a connection, or if its host does not read, the bytes stay in the
// pipe and the command blocks.
//
//	waiting ──the pipe is readable──▶ readable ──a host takes all of it──▶ waiting
//
// The bytes are also appended to a log file, if the host has named one.
type chunks struct {
	command  *command
	conn     *wire.Conn // in its line, if queued
	readable bool       // a read may succeed
	log      int        // file descriptor, or -1
	path     string     // of the log
	logErr   error      // why the log is incomplete
}

const (
	// frameRoom is the part of a buffer that two chunks leave for replies, in bytes.
	frameRoom = 1 << 10
	// maxChunk limits the content of a stdout_chunk, in bytes.
	maxChunk = reactor.BufferSize/2 - framing.ChunkHeaderSize - frameRoom
	// maxLogReason limits the reason for an incomplete log, in bytes, so that its line fits
	// noticeRoom.
	maxLogReason = 200
)

// newChunks returns the chunks of a command. path names its log; empty for none. If the log cannot
// be opened, the command runs nonetheless and its stderr says so.
func newChunks(cmd *command, path string) *chunks {
	s := &chunks{command: cmd, log: -1, path: path}
	if path != "" {
		fd, err := openLog(path)
		if err != nil {
			s.failLog(sys.NewError("open", path, err))
		} else {
			s.log = fd
		}
	}
	return s
}

// openLog opens a file for appending. It creates the file with mode 0644 whatever the umask, and
// does not wait for the reader of a FIFO.
func openLog(path string) (int, error) {
	const flags = unix.O_WRONLY | unix.O_APPEND | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	fd, err := sys.Openat(unix.AT_FDCWD, path, flags, 0)
	if err != unix.ENOENT {
		return fd, err
	}
	if fd, err = sys.Openat(unix.AT_FDCWD, path, flags|unix.O_CREAT, 0o644); err == nil {
		sys.Fchmod(fd, 0o644)
	}
	return fd, err
}

// failLog closes the log for good, because a log that ends is better than one with a hole.
func (s *chunks) failLog(err error) {
	s.closeLog()
	s.logErr = err
	s.command.service.Log.Warn("log incomplete", "pid", sys.Num(s.command.process.PID()),
		"error", err.Error())
}

func (s *chunks) closeLog() {
	if s.log >= 0 {
		s.command.service.Disk.CloseUnlinked(s.log)
		s.log = -1
	}
}

// onReadable handles a pipe that has bytes or has ended.
func (s *chunks) onReadable() {
	s.readable = true
	s.command.stdout.pipe.Want(0)
	s.queue()
}

// queue puts the chunks into the line of their connection, if there is a connection and something
// to send.
func (s *chunks) queue() {
	cmd := s.command
	if !s.readable || cmd.process.Finished() || cmd.answerDue {
		return
	}
	if c := cmd.service.Server.Host(cmd.conn); c != nil && c.Greeted() {
		s.conn = c
		c.Queue(s)
	}
}

// Produce implements [wire.Producer].
func (s *chunks) Produce() (more bool) {
	o, c := &s.command.stdout, s.conn
	svc := o.service
	if !s.readable || o.state >= dropping {
		return false
	}
	if svc.Server.Host(s.command.conn) != c {
		s.queue() // on a newer connection
		return false
	}
	if s.log >= 0 && svc.Disk.Held() {
		s.readable = false
		svc.Disk.OnRelease(o.resume)
		return false
	}
	frame := c.Space(framing.ChunkHeaderSize + maxChunk)[:framing.ChunkHeaderSize+maxChunk]
	n, err := sys.Read(o.pipe.FD(), frame[framing.ChunkHeaderSize:])
	if n <= 0 {
		s.readable = false
		if err == unix.EAGAIN {
			o.noteEmpty()
		} else {
			o.finish()
		}
		return false
	}
	s.appendLog(frame[framing.ChunkHeaderSize:][:n])
	framing.AppendStdoutChunkHead(frame[:0], uint32(s.command.process.PID()), n)
	c.Reply(frame[:framing.ChunkHeaderSize+n])
	o.countRead(n)
	return s.readable
}

// appendLog appends what was read to the log.
func (s *chunks) appendLog(b []byte) {
	for len(b) > 0 && s.log >= 0 {
		n, err := sys.Write(s.log, b)
		if err == nil && n == 0 {
			err = unix.EIO
		}
		if err != nil {
			s.failLog(sys.NewError("write", s.path, err))
			return
		}
		b = b[n:]
	}
}

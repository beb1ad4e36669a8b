package command

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// chunks sends the stdout of a spawn_watch as it comes: bytes go from the pipe straight into the buffer of a connection, in that one's
// turns. The connection is the one that the process_exit would go to. While there is none, or its host does not read, the bytes stay in
// the pipe and the command waits.
//
//	waiting ──the pipe is readable──▶ readable ──a host takes it──▶ in the line of its connection ──pipe is empty──▶ waiting
//
// They are appended to a log too, if the host has named one.
type chunks struct {
	command  *command
	conn     *wire.Conn // in whose line it stands
	readable bool       // a read may give something
	log      int        // file descriptor, or -1
	path     string     // of the log
	logErr   error      // why the log is not whole
}

const (
	// frameRoom is what is left of a buffer for replies beside two chunks, in bytes.
	frameRoom = 1 << 10
	// maxChunk is the most content of a stdout_chunk.
	maxChunk = reactor.BufferSize/2 - framing.ChunkHeaderSize - frameRoom
	// maxLogReason is the most that is said of a log that is not whole, in bytes: its line fits noticeRoom with the others.
	maxLogReason = 200
)

// newChunks makes the chunks of a command, whose host wants a log at path unless that is empty. A log that cannot be opened costs the
// command nothing: its stderr says so.
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

// openLog opens a file to append to, and creates it with mode 0644 whatever the umask. It waits for no reader of a FIFO.
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

// endLog ends the log for good: one with a hole in it would be worse than one that says where it ends.
func (s *chunks) failLog(err error) {
	s.closeLog()
	s.logErr = err
	s.command.service.Log.Warn("log incomplete", "pid", sys.Num(s.command.process.PID()), "error", err.Error())
}

func (s *chunks) closeLog() {
	if s.log >= 0 {
		s.command.service.Disk.CloseUnlinked(s.log)
		s.log = -1
	}
}

// ready is called when the pipe has something, or is at its end.
func (s *chunks) onReadable() {
	s.readable = true
	s.command.stdout.pipe.Want(0)
	s.queue()
}

// push has it stand in line at the connection that its chunks go to, if there is one and there is something to send.
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
	if !s.readable || o.decided {
		return false
	}
	if svc.Server.Host(s.command.conn) != c {
		s.queue() // a newer connection
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

// append adds what was read to the log.
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

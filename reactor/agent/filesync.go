package agent

import (
	"golang.org/x/sys/unix"

	"wick/reactor"
)

// maxFileSyncs is the most files that are synced at a time, each by a child.
const maxFileSyncs = 4

// fileSyncer has files of writes written to the disk. An fsync takes as long as the disk does, so a child makes it; those that would be one too
// many wait.
type fileSyncer struct {
	waiting []*fileSync
	running int
}

// fileSync is one fsync of a write's file.
type fileSync struct {
	agent *Agent
	write *fileWrite // nil when nobody waits for it any more
	child reactor.Child
}

// add has the file that a write holds synced, after which its synced is called.
func (s *fileSyncer) add(w *fileWrite) {
	w.sync = &fileSync{agent: w.conn.agent, write: w}
	s.waiting = append(s.waiting, w.sync)
	s.next()
}

// next begins what there is room for.
func (s *fileSyncer) next() {
	for s.running < maxFileSyncs && len(s.waiting) > 0 {
		j := s.waiting[0]
		s.waiting = remove(s.waiting, j)
		if j.write == nil {
			continue
		}
		a := j.agent
		err := error(unix.ENOSYS)
		if len(a.cfg.JobCommand) > 0 {
			err = a.startJob(&j.child, jobSyncFile, "", j.write.stage.FD, a.log.FD(), j)
		}
		if err == nil {
			s.running++
			continue
		}
		j.write.synced(j.inPlace(err))
	}
}

// Exited implements [reactor.ChildHandler].
func (j *fileSync) Exited(status unix.WaitStatus) {
	s := &j.agent.fsyncs
	s.running--
	defer s.next()
	if j.write == nil {
		return
	}
	errno := jobErrno(&j.child, status)
	if err := j.child.Failure(); err != nil {
		errno = j.inPlace(err)
	}
	j.write.synced(errno)
}

// inPlace makes the fsync that no child could be had for.
func (j *fileSync) inPlace(err error) unix.Errno {
	j.agent.log.Warn("fsync not started, done in place", "error", err.Error())
	errno, _ := unix.Fsync(j.write.stage.FD).(unix.Errno)
	return errno
}

// Failed implements [reactor.Failer]: a fault of ours costs no more than the connection.
func (j *fileSync) Failed(value any, stack []byte) {
	j.agent.log.Panic("write", value, stack)
	if j.write != nil {
		j.write.conn.close()
	}
}

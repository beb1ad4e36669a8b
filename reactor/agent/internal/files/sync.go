package files

import (
	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/sys"
)

// maxSyncs is the most files that are synced at a time, each by a child.
const maxSyncs = 4

// SyncJob writes the file that is its descriptor 0 to the disk.
var SyncJob = launch.Job{Name: "sync-file", Do: func(string) error { return unix.Fsync(0) }}

// syncer has the files of writes written to the disk. An fsync takes as long as the disk does, so a child
// makes it. Those beyond maxSyncs wait.
type syncer struct {
	service *Service
	waiting []*fileSync
	running int
}

// fileSync is one fsync of a write's file.
type fileSync struct {
	service *Service
	write   *fileWrite // nil when it has been given up
	child   reactor.Child
}

// add has the file that a write holds synced, after which its synced is called.
func (s *syncer) add(w *fileWrite) {
	w.sync = &fileSync{service: s.service, write: w}
	s.waiting = append(s.waiting, w.sync)
	s.startNext()
}

// next starts as many as there is room for.
func (s *syncer) startNext() {
	for s.running < maxSyncs && len(s.waiting) > 0 {
		j := s.waiting[0]
		s.waiting = sys.Remove(s.waiting, j)
		if j.write == nil {
			continue
		}
		err := s.service.Jobs.Start(&j.child, SyncJob.Name, "", j.write.stage.FD, s.service.Log.FD(), j)
		if err == nil {
			s.running++
			continue
		}
		j.write.syncDone(j.syncInProcess(err))
	}
}

// Exited implements [reactor.ChildHandler].
func (j *fileSync) Exited(status unix.WaitStatus) {
	s := &j.service.syncs
	s.running--
	defer s.startNext()
	if j.write == nil {
		return
	}
	errno := launch.JobErrno(&j.child, status)
	if err := j.child.Failure(); err != nil {
		errno = j.syncInProcess(err)
	}
	j.write.syncDone(errno)
}

// inPlace makes the fsync in this process, because no child can.
func (j *fileSync) syncInProcess(err error) unix.Errno {
	j.service.Log.Warn("fsync not started, done in place", "error", err.Error())
	errno, _ := unix.Fsync(j.write.stage.FD).(unix.Errno)
	return errno
}

// Failed implements [reactor.Failer]: a panic costs no more than its connection.
func (j *fileSync) Failed(value any, stack []byte) {
	j.service.Log.Panic("write", value, stack)
	if j.write != nil {
		j.write.conn.Close()
	}
}

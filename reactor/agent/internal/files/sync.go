package files

import (
	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/sys"
)

// maxSyncs limits the files that are synced at a time, each by a child.
const maxSyncs = 4

// SyncJob syncs the file at descriptor 0.
var SyncJob = launch.Job{Name: "sync-file", Do: func(string) error { return unix.Fsync(0) }}

// syncer syncs the files of writes. An fsync takes as long as the disk does, so a child makes it.
// Files beyond maxSyncs wait.
type syncer struct {
	service *Service
	waiting []*fileSync
	running int
}

// fileSync is one fsync of a write's file.
type fileSync struct {
	service *Service
	write   *fileWrite // nil once the write is given up
	child   reactor.Child
}

// add syncs the file of a write, and then calls its syncDone.
func (s *syncer) add(w *fileWrite) {
	w.sync = &fileSync{service: s.service, write: w}
	s.waiting = append(s.waiting, w.sync)
	s.startNext()
}

// startNext starts as many syncs as maxSyncs allows.
func (s *syncer) startNext() {
	for s.running < maxSyncs && len(s.waiting) > 0 {
		j := s.waiting[0]
		s.waiting = sys.Remove(s.waiting, j)
		if j.write == nil {
			continue
		}
		svc, fd := s.service, j.write.stage.FD
		err := svc.Jobs.Start(&j.child, SyncJob.Name, "", fd, svc.Log.FD(), j)
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

// syncInProcess syncs in the agent, because no child could be started.
func (j *fileSync) syncInProcess(err error) unix.Errno {
	j.service.Log.Warn("no child for the fsync, syncing in the agent", "error", err.Error())
	errno, _ := unix.Fsync(j.write.stage.FD).(unix.Errno)
	return errno
}

// Failed implements [reactor.Failer]. A panic ends the connection and nothing else.
func (j *fileSync) Failed(value any, stack []byte) {
	j.service.Log.Panic("write", value, stack)
	if j.write != nil {
		j.write.conn.Close()
	}
}

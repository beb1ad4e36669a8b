package evidence

import (
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/roomtest"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) {
	launch.RunJob(LastJob)
	leaktest.Main(m)
}

// room is a service whose kernel logs are sockets. A packet of a socket is a record, as one read
// of /dev/kmsg is.
type room struct {
	*roomtest.Room
	s    *Service
	logs []int // the far ends
}

func newRoom(t *testing.T) *room {
	t.Helper()
	r := &room{}
	r.Room = roomtest.New(t, func(r0 *roomtest.Room) (end func()) {
		r.s = NewService(Config{Loop: r0.Loop, Log: r0.Log, Server: r0.Server})
		r.s.open = func(bool) (int, error) {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			r.logs = append(r.logs, fds[1])
			return fds[0], err
		}
		return func() {
			for _, fd := range r.logs {
				unix.Close(fd)
			}
		}
	})
	return r
}

// open opens a kernel log that follows, and returns its far end.
func (r *room) open(h *roomtest.Host, seq, credit uint32) (log int) {
	r.Helper()
	h.Send(framing.AppendKernelLog(nil, seq, framing.KernelLog{Follow: true, Credit: credit}))
	h.Ping(seq + 1000)
	r.Do(func() { log = r.logs[len(r.logs)-1] })
	return log
}

// put makes records of a log.
func (r *room) put(log int, records ...string) {
	r.Helper()
	for _, record := range records {
		if _, err := unix.Write(log, []byte(record)); err != nil {
			r.Fatal(err)
		}
	}
}

// records reads outputs until there are n records.
func records(h *roomtest.Host, seq uint32, n int) (all []framing.KernelRecord) {
	h.Helper()
	for len(all) < n {
		_, data, err := framing.ParseOutput(h.Want(framing.TypeOutput, seq))
		for err == nil && len(data) > 0 {
			var r framing.KernelRecord
			if r, data, err = framing.CutKernelRecord(data); err == nil {
				all = append(all, r)
			}
		}
		if err != nil {
			h.Fatal(err)
		}
	}
	return all
}

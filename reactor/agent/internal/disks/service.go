package disks

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

const (
	// maxRequests limits the requests that run at a time, each in a child.
	maxRequests = 8
	// maxWait limits how long a device may take to appear.
	maxWait = time.Hour
	// workLimit limits a request beside such a wait, and trimLimit a trim.
	workLimit = time.Minute
	trimLimit = 10 * time.Minute
	// requestGarbage is what a request leaves beside its text, in bytes.
	requestGarbage = 2 << 10
)

var (
	errBusy   = &sys.WordedError{Errno: unix.EBUSY, Words: "too many disk requests under way (limit " + sys.Num(maxRequests) + ")"}
	errEnding = &sys.WordedError{Errno: unix.EBUSY, Words: "machine is going down"}
)

// Config is what a service is made of.
type Config struct {
	Loop    *reactor.Loop
	Log     *log.Log
	Garbage *sys.Garbage
	Server  *wire.Server
	Disk    *files.Disk
	Jobs    *launch.Jobs
	// Root is a directory of the disk that takes the root's writes, or 0. Null is /dev/null.
	Root, Null int
}

// Service serves mount, unmount and disk.
type Service struct {
	Config
	requests []*request
	ending   bool
}

// NewService returns a service that has registered its handlers.
func NewService(cfg Config) *Service {
	s := &Service{Config: cfg}
	s.Server.Handle(framing.TypeMount, s.mount)
	s.Server.Handle(framing.TypeUnmount, s.unmount)
	s.Server.Handle(framing.TypeDisk, s.disk)
	s.Server.OnDetach(s.detach)
	return s
}

// request is a request that runs.
type request struct {
	service *Service
	waiter  wire.Waiter
	seq     uint32
	job     string
	child   reactor.Child
	result  int // the pipe of the child's output
	timer   reactor.Timer
}

func (s *Service) mount(c *wire.Conn, p *framing.Part) error {
	m, err := framing.ParseMount(p.Data)
	if err != nil {
		return err
	}
	wait := time.Duration(m.WaitMS) * time.Millisecond
	if wait > maxWait {
		c.Done(p.Seq, 0, &sys.WordedError{Errno: unix.EINVAL, Words: "mount: wait is longer than an hour"})
		return nil
	}
	s.start(c, p.Seq, mountJob, sys.Num(m.WaitMS)+" "+string(m.Volume), wait+workLimit)
	return nil
}

func (s *Service) unmount(c *wire.Conn, p *framing.Part) error {
	flags, target, err := framing.ParseUnmount(p.Data)
	if err != nil {
		return err
	}
	s.start(c, p.Seq, unmountJob, sys.Num(uint8(flags))+" "+string(target), workLimit)
	return nil
}

func (s *Service) disk(c *wire.Conn, p *framing.Part) error {
	op, path, err := framing.ParseDisk(p.Data)
	if err != nil {
		return err
	}
	switch op {
	case framing.DiskTrim:
		s.start(c, p.Seq, trimJob, string(path), trimLimit)
	case framing.DiskGrow:
		s.start(c, p.Seq, growJob, string(path), workLimit)
	case framing.DiskShow:
		s.start(c, p.Seq, showJob, "", workLimit)
	default:
		words := "disk: unknown operation " + sys.Num(uint8(op))
		c.Done(p.Seq, 0, &sys.WordedError{Errno: unix.EINVAL, Words: words})
	}
	return nil
}

// start starts the job of a request, which may take limit.
func (s *Service) start(c *wire.Conn, seq uint32, job, argument string, limit time.Duration) {
	s.Garbage.Collect(requestGarbage + 2*len(argument))
	var err error
	switch {
	case s.ending:
		err = errEnding
	case s.Disk.Held():
		err = files.ErrFrozen
	case len(s.requests) == maxRequests:
		err = errBusy
	}
	var p [2]int
	if err == nil {
		err = sys.Wrap("pipe", job, unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK))
	}
	if err != nil {
		c.Done(seq, 0, err)
		return
	}
	r := &request{service: s, seq: seq, job: job, result: p[0]}
	root := s.Root
	if root == 0 {
		root = s.Null
	}
	err = s.Jobs.Start(&r.child, job, argument, root, p[1], r)
	unix.Close(p[1])
	if err != nil {
		unix.Close(p[0])
		c.Done(seq, 0, err)
		return
	}
	s.requests = append(s.requests, r)
	s.Loop.Start(&r.timer, limit, r)
	r.waiter.Wait(c, seq)
}

// Expired implements [reactor.TimerHandler]. The request has taken too long. Its child ends when
// the kernel lets it, and counts until then.
func (r *request) Expired(*reactor.Timer) {
	r.child.SignalGroup(unix.SIGKILL)
	r.waiter.Answer(sys.NewError(r.job, "", unix.ETIMEDOUT))
}

// Exited implements [reactor.ChildHandler].
func (r *request) Exited(status unix.WaitStatus) {
	s := r.service
	r.timer.Stop()
	s.requests = sys.Remove(s.requests, r)
	c := r.waiter.Conn()
	if c == nil {
		r.close()
		return
	}
	buf := make([]byte, maxOutput)
	n, _ := unix.Read(r.result, buf)
	s.Garbage.Collect(maxOutput)
	output := buf[:max(n, 0)]
	r.close()
	errno := launch.JobErrno(&r.child, status)
	if r.job == showJob && errno == 0 {
		r.show(c, string(output))
		return
	}
	var err error
	for i := 7; i >= 0 && len(output) >= 8; i-- {
		r.waiter.Value = r.waiter.Value<<8 | uint64(output[i])
	}
	switch {
	case errno != 0 && len(output) > 8:
		err = &sys.WordedError{Errno: errno, Words: string(output[8:])}
	case errno != 0:
		err = sys.NewError(r.job, "", errno)
	}
	r.waiter.Answer(err)
}

// show answers with the facts in the output of the job.
func (r *request) show(c *wire.Conn, output string) {
	var f framing.Facts
	for output != "" {
		var name, value string
		name, output, _ = sys.Cut(output, 0)
		value, output, _ = sys.Cut(output, 0)
		f.Add(name, value)
	}
	c.ReplyLater(framing.AppendFacts(nil, r.seq, f))
	r.waiter.Forget(c)
	c.Sent()
}

// close closes the pipe.
func (r *request) close() {
	unix.Close(r.result)
	r.result = -1
}

// Failed implements [reactor.Failer].
func (r *request) Failed(value any, stack []byte) {
	r.service.Log.Panic(r.job, value, stack)
	r.waiter.Answer(sys.NewError(r.job, "", unix.EIO))
}

// detach drops the requests of a connection that is gone. A trim stops; the others go on, because
// they would leave the machine in between.
func (s *Service) detach(c *wire.Conn) {
	for _, r := range s.requests {
		if r.waiter.Conn() == c && r.job == trimJob {
			r.child.SignalGroup(unix.SIGKILL)
		}
		r.waiter.Forget(c)
	}
}

// Stop refuses every later request, because the machine ends.
func (s *Service) Stop() { s.ending = true }

// Close releases what running requests hold.
func (s *Service) Close() {
	for _, r := range s.requests {
		r.timer.Stop()
		r.close()
	}
	s.requests = nil
}

package roomtest

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/contain"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// Room is what a room is made of. Its fields are for the loop's goroutine. Its commands have no
// cgroups.
type Room struct {
	*Runner
	Loop    *reactor.Loop
	Log     *log.Log
	Garbage sys.Garbage
	Server  *wire.Server
	Contain *contain.Pool
	Table   *launch.Table
	Env     launch.Env
	Jobs    *launch.Jobs
	Null    int
}

// New makes a room. open makes its service, on the loop's goroutine, and returns what ends the
// service. The room ends with the test.
func New(t *testing.T, open func(r *Room) (end func())) *Room {
	t.Helper()
	r := &Room{Log: log.New(-1, log.LevelError)}
	var end func()
	r.Runner = Run(t, func() (*reactor.Loop, func() error, error) {
		var err error
		if r.Loop, err = reactor.New(8 * wire.BuffersPerConn); err != nil {
			return nil, nil, err
		}
		if r.Null, err = unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return nil, nil, err
		}
		r.Env = launch.NewEnv(os.Environ(), &r.Garbage)
		r.Contain = contain.New(r.Loop, r.Log, &r.Garbage, func(f func(*contain.Box)) { r.Table.EachBox(f) })
		r.Table = launch.NewTable(r.Loop, r.Contain, 16, func() {})
		r.Jobs = &launch.Jobs{Command: launch.JobCommand, Loop: r.Loop, Log: r.Log}
		r.Server = wire.NewServer(wire.Config{Loop: r.Loop, Log: r.Log, Garbage: &r.Garbage, Conns: 8, Changed: func() {}})
		r.Server.HandleEmpty(framing.TypePing, func(c *wire.Conn, p *framing.Part) error {
			c.ReplyEmpty(framing.TypePong, p.Seq)
			return nil
		})
		end = open(r)
		return r.Loop, r.run, r.Loop.SetEnv(r.Env.Entries())
	})
	t.Cleanup(func() {
		r.Do(func() {
			r.Server.Close()
			end()
			r.Table.Release()
			r.Contain.Close()
			r.Loop.Stop()
		})
		if err := r.WaitEnd(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *Room) run() error {
	err := r.Loop.Run()
	r.Loop.Close()
	unix.Close(r.Null)
	return err
}

// Link is the link of a connection, which the agent has not dialed.
type Link struct{ IsVsock bool }

// Lost implements [wire.Link].
func (*Link) Lost(uint32, bool, bool) {}

// Dialed implements [wire.Link].
func (*Link) Dialed(uint32) bool { return false }

// Vsock implements [wire.Link].
func (l *Link) Vsock() bool { return l.IsVsock }

// Dial connects, and reads the ready. The extension is served already.
func (r *Room) Dial() *Host {
	r.Helper()
	h := Dial(r.T, func(fd int) { r.Do(func() { r.Server.Accept(fd, new(Link), "test").Extend() }) })
	h.Want(framing.TypeReady, 0)
	return h
}

// Dial makes a connection, whose agent's side accept takes.
func Dial(t *testing.T, accept func(fd int)) *Host {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[0]), "host")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	accept(fds[1])
	return &Host{t, conn}
}

// Lost waits until there are n connections.
func (r *Room) Lost(n int) {
	r.Helper()
	r.Until("connections are lost", func() bool { all, _ := r.Server.Count(); return all == n })
}

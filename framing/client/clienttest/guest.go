// Package clienttest has guests for tests of hosts, without a machine. [Agent] is the real agent as
// a process of this machine. [Guest] stands in front of one and can be reached in every way that a
// guest can. It can play the part of Firecracker, stay mute, refuse to boot, and be an old guest.
//
// The agent runs commands and writes files on this machine, as the user who runs the test.
package clienttest

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"wick/framing"
	"wick/framing/wiretest"
)

// Guest is a guest that an [Agent] serves. Set the fields, then call a method that serves; Close
// ends it and its agent.
type Guest struct {
	// Dir is the working directory of the agent and its commands. Empty means a temporary one.
	Dir string
	// BootError, if not empty, is sent instead of ready, as by a machine that could not boot.
	BootError string
	// Mute leaves pings unanswered.
	Mute bool
	// Old makes it a guest whose agent is older than the extension of the protocol.
	Old bool
	// OnFrame, if not nil, is called for every frame of a host before it is answered.
	OnFrame func(framing.Header)

	once  sync.Once
	agent *Agent
	err   error
	tmp   string

	mu     sync.Mutex
	closed bool
	open   map[io.Closer]bool
	work   sync.WaitGroup
}

// Listen serves hosts that connect to the Unix socket at path.
func (g *Guest) Listen(path string) error { return g.listen(path, g.Serve) }

// ListenFirecracker serves hosts that connect to the Unix socket at path, as Firecracker does: a
// host names a port, and is connected if it is the guest's.
func (g *Guest) ListenFirecracker(path, port string) error {
	return g.listen(path, func(conn net.Conn) {
		// The line is read byte by byte, because a host may send frames right behind it.
		var line []byte
		for b := make([]byte, 1); len(line) == 0 || line[len(line)-1] != '\n'; line = append(line, b...) {
			if _, err := io.ReadFull(conn, b); err != nil {
				break
			}
		}
		if string(line) != "CONNECT "+port+"\n" {
			conn.Close() // nothing listens at that port
			return
		}
		io.WriteString(conn, "OK 1073741824\n")
		g.Serve(conn)
	})
}

func (g *Guest) listen(path string, serve func(net.Conn)) error {
	if err := g.start(); err != nil {
		return err
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	if !g.add(ln) {
		return net.ErrClosed
	}
	g.work.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			g.work.Go(func() { serve(conn) })
		}
	})
	return nil
}

// Connect serves the host that listens at path as soon as there is one, and then the next, until
// Close.
func (g *Guest) Connect(path string) {
	g.work.Go(func() {
		for !g.isClosed() {
			conn, err := net.Dial("unix", path)
			if err != nil {
				time.Sleep(5 * time.Millisecond) // the real agent backs off too
				continue
			}
			g.Serve(conn)
		}
	})
}

// Close drops all connections and ends the agent.
func (g *Guest) Close() {
	g.mu.Lock()
	g.closed = true
	for c := range g.open {
		c.Close()
	}
	g.mu.Unlock()
	g.work.Wait()
	g.once.Do(func() {}) // start starts none after this
	if g.agent != nil {
		g.agent.Stop()
	}
	os.RemoveAll(g.tmp)
}

func (g *Guest) isClosed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// add registers c for Close. After Close it closes c and returns false.
func (g *Guest) add(c io.Closer) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		c.Close()
		return false
	}
	if g.open == nil {
		g.open = map[io.Closer]bool{}
	}
	g.open[c] = true
	return true
}

func (g *Guest) remove(c io.Closer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.open, c)
	c.Close()
}

// start starts the agent on the first call.
func (g *Guest) start() error {
	g.once.Do(func() {
		if g.BootError != "" {
			return
		}
		if g.tmp, g.err = os.MkdirTemp("", "guest-"); g.err != nil {
			return
		}
		dir := g.Dir
		if dir == "" {
			dir = g.tmp
		}
		g.agent, g.err = startAgent(dir, filepath.Join(g.tmp, "s"))
	})
	return g.err
}

// Serve serves one host on conn, until either side closes it.
func (g *Guest) Serve(conn net.Conn) {
	if !g.add(conn) {
		return
	}
	defer g.remove(conn)
	if g.BootError != "" {
		conn.Write(wiretest.Make(wiretest.Error, 0, g.BootError))
		return
	}
	if g.start() != nil {
		return
	}
	agent, err := net.Dial("unix", filepath.Join(g.tmp, "s"))
	if err != nil || !g.add(agent) {
		return
	}
	defer g.remove(agent)
	g.work.Go(func() {
		io.Copy(conn, agent)
		conn.Close()
	})
	g.forward(agent, conn)
}

// forward sends the host's frames to the agent, except those that it drops or answers itself.
func (g *Guest) forward(agent, host net.Conn) {
	var in bytes.Buffer
	for buf := make([]byte, 64<<10); ; {
		n, err := host.Read(buf)
		in.Write(buf[:n])
		for {
			f, rest, bad := wiretest.Cut(in.Bytes())
			if bad != nil { // the agent reports it
				agent.Write(in.Next(in.Len()))
				break
			}
			if f == nil {
				break
			}
			whole := in.Next(in.Len() - len(rest))
			if g.OnFrame != nil {
				g.OnFrame(framing.Header{Type: framing.Type(f.Type), Seq: f.Seq, Size: len(f.Payload)})
			}
			switch {
			case g.Mute && f.Type == wiretest.Ping:
			case g.Old && f.Type == wiretest.Hello:
				host.Write(wiretest.Make(wiretest.Error, f.Seq, "unknown message type 0x20"))
			default:
				agent.Write(whole)
			}
		}
		if err != nil {
			agent.Close()
			return
		}
	}
}

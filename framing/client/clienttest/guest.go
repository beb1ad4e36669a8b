// Package clienttest has guests for tests of hosts, without a machine. Agent is the real agent.
// Guest is a small one that can misbehave.
//
// A [Guest] speaks the base protocol: it runs commands with the local sh, and writes files below a
// directory of the test's. It can stay mute, refuse to boot, and play the part of Firecracker. It
// lacks the care of the real agent: it holds frames in memory, kills only the shell's process
// group, and trusts its host.
package clienttest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"wick/framing"
)

// Guest is a small guest. Set the fields, then call a method that serves; Close ends it.
type Guest struct {
	// Dir is the directory that stands for the guest's root in write_file.
	Dir string
	// BootError, if not empty, is sent instead of ready, as by a machine that could not boot.
	BootError string
	// Mute leaves pings unanswered.
	Mute bool
	// OnFrame, if not nil, is called for every frame before it is answered.
	OnFrame func(framing.Header)

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

// Close drops all connections, kills all commands, and waits for both.
func (g *Guest) Close() {
	g.mu.Lock()
	g.closed = true
	for c := range g.open {
		c.Close()
	}
	g.mu.Unlock()
	g.work.Wait()
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

// Serve serves one host on conn, until either side closes it.
func (g *Guest) Serve(conn net.Conn) {
	if !g.add(conn) {
		return
	}
	defer g.remove(conn)
	h := &host{g: g, conn: conn}
	defer h.work.Wait()
	defer h.killAll()
	if g.BootError != "" {
		h.send(framing.AppendError(nil, 0, g.BootError))
		return
	}
	h.send(framing.AppendFrame(nil, framing.TypeReady, 0, nil))
	in := bufio.NewReader(conn)
	for {
		head, payload, err := ReadFrame(in)
		if bad, ok := errors.AsType[*framing.LengthError](err); ok {
			h.send(framing.AppendError(nil, 0, bad.Error()))
		}
		if err != nil {
			return
		}
		if g.OnFrame != nil {
			g.OnFrame(head)
		}
		h.answer(head, payload)
	}
}

// ReadFrame reads one frame. Its error is the reader's, or a *framing.LengthError.
func ReadFrame(r io.Reader) (framing.Header, []byte, error) {
	buf := make([]byte, framing.HeaderSize)
	if _, err := io.ReadFull(r, buf); err != nil {
		return framing.Header{}, nil, err
	}
	// A window of a bare header makes the decoder check the header and return no payload.
	d := framing.Decoder{Window: framing.HeaderSize}
	var p framing.Part
	if n, err := d.Next(buf, &p); err != nil {
		return framing.Header{}, nil, err
	} else if n > 0 {
		return p.Header, nil, nil
	}
	// With one byte of the payload the decoder returns the header.
	buf = append(buf, 0)
	if _, err := io.ReadFull(r, buf[framing.HeaderSize:]); err != nil {
		return framing.Header{}, nil, err
	}
	if _, err := d.Next(buf, &p); err != nil {
		return framing.Header{}, nil, err
	}
	payload := make([]byte, p.Size)
	payload[0] = p.Data[0]
	_, err := io.ReadFull(r, payload[1:])
	return p.Header, payload, err
}

// put writes a file below Dir.
func (g *Guest) put(path string, content []byte) error {
	if path == "" || os.IsPathSeparator(path[len(path)-1]) {
		return &os.PathError{Op: "open", Path: path, Err: errors.New("is a directory")}
	}
	full := filepath.Join(g.Dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(full), ".put-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(content)
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(tmp.Name(), full)
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
	return err
}

package main

import (
	"context"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// forwarder is the loopback of a pod's network namespace on the host. containerd connects to a port
// there to forward it, and the server is in the machine. A BPF program hands the connections to all
// ports to one listener, which passes them on.
type forwarder struct {
	listener net.Listener
	link     int // the descriptor that keeps the program attached
}

// newForwarder listens on all ports of a network namespace's loopback. The kernel needs
// BPF_PROG_TYPE_SK_LOOKUP, which Linux 5.9 has.
func newForwarder(path string) (*forwarder, error) {
	f := &forwarder{}
	ns, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	err = inNamespace(path, func() (err error) {
		var plain net.ListenConfig
		plain.SetMultipathTCP(false) // which a map of sockets does not take
		// Only the loopback leads here.
		f.listener, err = plain.Listen(context.Background(), "tcp", ":0")
		return err
	})
	if err != nil {
		return nil, err
	}
	raw, err := f.listener.(*net.TCPListener).SyscallConn()
	if err == nil {
		controlled := raw.Control(func(fd uintptr) { f.link, err = divert(int(ns.Fd()), int(fd)) })
		if err == nil {
			err = controlled
		}
	}
	if err != nil {
		f.listener.Close()
		return nil, err
	}
	return f, nil
}

// close ends the forwarding. Connections live on until they end. f may be nil.
func (f *forwarder) close() {
	if f != nil {
		unix.Close(f.link)
		f.listener.Close()
	}
}

// dialLimit limits a connection to a server in the guest.
const dialLimit = 10 * time.Second

// serve passes connections on to the machine, until close.
func (f *forwarder) serve(s *service) {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			vm := s.client()
			if vm == nil {
				return
			}
			limit, cancel := context.WithTimeout(context.Background(), dialLimit)
			defer cancel()
			port := portOf(conn)
			guest, err := vm.DialContext(limit, "tcp", net.JoinHostPort("localhost", port))
			if err != nil {
				s.log.Info("forward a port", "port", port, "error", err)
				return
			}
			join(conn, guest)
		}()
	}
}

// portOf returns the port that the peer connected to.
func portOf(conn net.Conn) string { return strconv.Itoa(conn.LocalAddr().(*net.TCPAddr).Port) }

// join copies between two connections, each half of them until its end.
func join(a, b net.Conn) {
	done := make(chan struct{})
	half := func(to, from net.Conn) {
		io.Copy(to, from)
		if w, ok := to.(interface{ CloseWrite() error }); ok {
			w.CloseWrite()
		}
		done <- struct{}{}
	}
	go half(a, b)
	go half(b, a)
	<-done
	<-done
	a.Close()
	b.Close()
}

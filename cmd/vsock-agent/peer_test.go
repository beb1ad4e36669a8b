package main_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// peers has the sockets of programs that a forwarded connection leads to or comes from.
type peers struct {
	conns     map[string]net.Conn
	listeners map[string]net.Listener
	all       []io.Closer // also those whose name was given to another
}

func (p *peers) close() {
	for _, c := range p.all {
		c.Close()
	}
}

// addConn and addListener name a socket. A name may have been another's before.
func (p *peers) addConn(name string, c net.Conn) {
	p.conns[name] = c
	p.all = append(p.all, c)
}

func (p *peers) addListener(name string, ln net.Listener) {
	p.listeners[name] = ln
	p.all = append(p.all, ln)
}

// peerStep runs a step of one of these forms. A listener captures its address as ${LISTENER}:
//
//	peer listen LISTENER NETWORK ADDRESS
//	peer full LISTENER PATH
//	peer accept PEER LISTENER
//	peer dial PEER NETWORK ADDRESS
//	peer PEER sends value | reads value | ended | reset | half-close | deafens | close | resets
func (r *run) peerStep(rest string) error {
	if r.peers.conns == nil {
		r.peers = peers{conns: map[string]net.Conn{}, listeners: map[string]net.Listener{}}
	}
	tokens, err := scan(rest)
	if err != nil {
		return err
	}
	s := &scanner{tokens}
	first, second := s.next().text, s.next().text
	var value []byte
	if len(s.tokens) > 0 {
		if value, err = s.value(); err != nil {
			return err
		}
	}
	address := func(network string, value []byte) string {
		if text := string(value); network != "unix" || strings.HasPrefix(text, "@") || filepath.IsAbs(text) {
			return text
		}
		return r.path(string(value))
	}
	switch first {
	case "listen":
		rest, err := s.value()
		if err != nil {
			return err
		}
		ln, err := net.Listen(string(value), address(string(value), rest))
		if err == nil {
			r.peers.addListener(second, ln)
			r.vars[second] = ln.Addr().String()
		}
		return err
	case "full":
		ln, err := fullListener(r.path(string(value)))
		if err == nil {
			r.peers.addListener(second, ln)
		}
		return err
	case "accept":
		ln := r.peers.listeners[string(value)]
		if ln == nil {
			return fmt.Errorf("no listener %s", value)
		}
		ln.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(r.c.deadline))
		c, err := ln.Accept()
		if err == nil {
			r.peers.addConn(second, c)
			r.vars[second] = c.RemoteAddr().String()
		}
		return err
	case "dial":
		rest, err := s.value()
		if err != nil {
			return err
		}
		c, err := net.Dial(string(value), address(string(value), rest))
		if err == nil {
			r.peers.addConn(second, c)
			r.vars[second] = c.LocalAddr().String()
		}
		return err
	}
	c := r.peers.conns[first]
	if c == nil {
		return fmt.Errorf("no peer %s", first)
	}
	c.SetDeadline(time.Now().Add(r.c.deadline))
	switch second {
	case "sends":
		_, err := c.Write(value)
		return err
	case "reads":
		got := make([]byte, len(value))
		if n, err := io.ReadFull(c, got); err != nil {
			return fmt.Errorf("%w, after %s", err, quoted(got[:n]))
		}
		return compare(field{op: "=", value: value}, got)
	case "ended", "reset":
		got, err := io.ReadAll(c)
		if len(got) > 0 || second == "ended" && err != nil || second == "reset" && !errors.Is(err, syscall.ECONNRESET) {
			return fmt.Errorf("read %s, %v", quoted(got), err)
		}
		return nil
	case "half-close":
		return c.(interface{ CloseWrite() error }).CloseWrite()
	case "deafens":
		return c.(interface{ CloseRead() error }).CloseRead()
	case "close":
		delete(r.peers.conns, first)
		return c.Close()
	case "resets":
		delete(r.peers.conns, first)
		c.(*net.TCPConn).SetLinger(0)
		return c.Close()
	}
	return fmt.Errorf("a peer has no %q", second)
}

// fullListener listens at a path with a backlog that has room for no more connection.
func fullListener(path string) (net.Listener, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		return nil, err
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	defer c.Close() // it stays in the backlog
	return net.FileListener(file)
}

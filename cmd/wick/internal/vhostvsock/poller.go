package vhostvsock

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// poller is a level-triggered epoll set. It belongs to one goroutine.
type poller struct {
	fd      int
	sources map[uint64]*source
	last    uint64
	events  [64]unix.EpollEvent
}

// source is a descriptor in a poller. It owns the descriptor.
type source struct {
	p      *poller
	fd     int
	token  uint64 // never reused, so an event of a closed descriptor finds no source
	events uint32 // what is registered; 0: not in the set
	ready  func(events uint32)
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	return &poller{fd: fd, sources: map[uint64]*source{}}, nil
}

// add takes ownership of fd, without polling it yet. wait calls ready.
func (p *poller) add(fd int, ready func(events uint32)) *source {
	p.last++
	s := &source{p: p, fd: fd, token: p.last, ready: ready}
	p.sources[s.token] = s
	return s
}

// want sets the events that the source is polled for. Without any, the descriptor leaves the set,
// because EPOLLHUP and EPOLLERR would still be reported.
func (s *source) want(events uint32) error {
	if events == s.events {
		return nil
	}
	action := unix.EPOLL_CTL_MOD
	switch {
	case s.events == 0:
		action = unix.EPOLL_CTL_ADD
	case events == 0:
		action = unix.EPOLL_CTL_DEL
	}
	e := unix.EpollEvent{Events: events, Fd: int32(s.token), Pad: int32(s.token >> 32)}
	if err := unix.EpollCtl(s.p.fd, action, s.fd, &e); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	s.events = events
	return nil
}

// release removes the descriptor from the set and returns it.
func (s *source) release() int {
	s.want(0)
	delete(s.p.sources, s.token)
	return s.fd
}

// close releases the source and closes its descriptor.
func (s *source) close() { unix.Close(s.release()) }

// wait waits at most d, or forever if d is negative, and calls the ready sources.
func (p *poller) wait(d time.Duration) error {
	ms := -1
	if d >= 0 {
		ms = int((d + time.Millisecond - 1) / time.Millisecond)
	}
	n, err := unix.EpollWait(p.fd, p.events[:], ms)
	if err == unix.EINTR {
		return nil
	}
	if err != nil {
		return fmt.Errorf("epoll_wait: %w", err)
	}
	for _, e := range p.events[:n] {
		token := uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
		if s, ok := p.sources[token]; ok {
			s.ready(e.Events)
		}
	}
	return nil
}

// close closes the poller and all sources in it.
func (p *poller) close() {
	for _, s := range p.sources {
		unix.Close(s.fd)
	}
	clear(p.sources)
	unix.Close(p.fd)
}

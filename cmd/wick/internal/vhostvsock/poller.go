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
	token  uint64 // never used twice, so an event of a closed descriptor finds nobody
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

// add takes over fd, which is polled for nothing yet. ready is called from wait.
func (p *poller) add(fd int, ready func(events uint32)) *source {
	p.last++
	s := &source{p: p, fd: fd, token: p.last, ready: ready}
	p.sources[s.token] = s
	return s
}

// want sets what the source is polled for. With nothing wanted the descriptor leaves the set, for EPOLLHUP and
// EPOLLERR would be reported all the same.
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

// release takes the descriptor out of the set and gives it back.
func (s *source) release() int {
	s.want(0)
	delete(s.p.sources, s.token)
	return s.fd
}

// close closes the descriptor too.
func (s *source) close() { unix.Close(s.release()) }

// wait waits at most d, or for ever if d is negative, and calls the sources that are ready.
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

// close closes what is left in the poller, and the poller.
func (p *poller) close() {
	for _, s := range p.sources {
		unix.Close(s.fd)
	}
	clear(p.sources)
	unix.Close(p.fd)
}

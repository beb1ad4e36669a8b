//go:build linux

package main

import (
	"context"
	"net"
	"os"
	"strings"
	"time"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/keeper"
)

// named runs a machine that has a name but does not stay: it is in the list of machines until it
// ends.
func (r *runner) named(ctx context.Context, ui *runUI) error {
	defer r.close()
	if err := r.prepare(ctx, ui); err != nil {
		return err
	}
	r.foreground()
	store, err := keeper.Default()
	if err != nil {
		return &exit.Error{Code: exit.Own, Err: err}
	}
	state := r.state()
	state.Remove, state.PID = true, os.Getpid()
	m, err := store.Create(state)
	if err != nil {
		return &exit.Error{Code: exit.Own, Err: err}
	}
	s := newSupervisor(r, m, state)
	defer s.removed()
	if err := r.host.writeID(m.ID); err != nil {
		return &exit.Error{Code: exit.Own, Err: err}
	}
	if s.server, err = m.Serve(s.do, nil); err != nil {
		return &exit.Error{Code: exit.Own, Err: err}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	over := make(chan struct{})
	defer close(over)
	go s.endForeground(ctx, cancel, over)
	r.options.Started = s.started
	err = r.boot(ctx, ui, func() {
		ui.end()
		s.update(func(st *keeper.State) {
			if st.Status == keeper.Starting {
				st.Status, st.Started = keeper.Running, time.Now()
			}
		})
	})
	s.end(err)
	return err
}

// endForeground ends a machine that does not stay, when it is asked to stop. Its command gets the
// signal first, and has the grace to end by itself.
func (s *supervisor) endForeground(ctx context.Context, cancel func(), over <-chan struct{}) {
	select {
	case <-s.stopped:
	case <-over:
		return
	}
	s.mu.Lock()
	sig, grace := s.signal, s.grace
	s.mu.Unlock()
	if pass := s.r.t.running.Load(); pass != nil && grace > 0 {
		(*pass)(ctx, sig)
		select {
		case <-time.After(grace):
		case <-over:
			return
		}
	}
	cancel()
}

// notify tells a service manager how far wick is, as sd_notify(3) does, if one has started it.
func notify(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if strings.HasPrefix(path, "@") {
		path = "\x00" + path[1:]
	}
	conn, err := net.Dial("unixgram", path)
	if err != nil {
		return
	}
	defer conn.Close()
	conn.Write([]byte(state))
}

package keeper

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
)

// TestAttach has three attached to a flood. One takes nothing for a while, and is told how much it
// has lost. The command gets what is typed.
func TestAttach(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := create(t, s, "web")
	defer m.Release()
	var viewers Viewers
	typed := make(chan *Message)
	server, err := m.Serve(func(context.Context, Request) error { return nil }, func(st *Stream) {
		leave := viewers.Add(st, &Joined{Terminal: true})
		defer leave()
		for {
			m, err := st.Receive()
			if err != nil {
				return
			}
			typed <- m
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.Find("web")
	if err != nil {
		t.Fatal(err)
	}
	join := func() *Stream {
		st, joined, err := other.Attach(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !joined.Terminal || joined.Stdin {
			t.Errorf("Attach says %+v", joined)
		}
		return st
	}
	const block, count = 32 << 10, 256
	type seen struct {
		stdout, stderr, lost int64
		end                  *End
	}
	watch := func(st *Stream, behind chan<- int64) (got seen) {
		defer st.Close()
		for {
			m, err := st.Receive()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					t.Error(err)
				}
				return got
			}
			got.stdout, got.stderr = got.stdout+int64(len(m.Stdout)), got.stderr+int64(len(m.Stderr))
			if m.Lost > 0 && behind != nil {
				behind <- m.Lost
			}
			if got.lost += m.Lost; m.End != nil {
				got.end = m.End
			}
		}
	}
	slow, ended := join(), make(chan seen)
	for range 2 {
		st := join()
		go func() { ended <- watch(st, nil) }()
		if err := st.Send(&Message{Stdin: []byte("key")}); err != nil {
			t.Error(err)
		}
		if got := <-typed; string(got.Stdin) != "key" {
			t.Errorf("the command got %+v", got)
		}
	}
	text := bytes.Repeat([]byte("x"), block)
	out, errs := viewers.Output(false), viewers.Output(true)
	all := int64(0)
	write := func() {
		out.Write(text)
		all += block
	}
	for range count {
		write()
	}
	behind := make(chan int64, 1000)
	go func() { ended <- watch(slow, behind) }()
	for len(behind) == 0 { // until there is room for it again
		write()
	}
	errs.Write([]byte("last"))
	viewers.End(End{Code: 7})
	for range 3 {
		if got := <-ended; got.stdout+got.stderr+got.lost != all+4 || got.end == nil || got.end.Code != 7 {
			t.Errorf("one that is attached has %+v of %d bytes", got, all)
		}
	}
	server.Close(nil)
}

// TestAttachLate attaches to a machine that has no command, or does not run.
func TestAttachLate(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	m := create(t, s, "web")
	server, err := m.Serve(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.Find("web")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := other.Attach(t.Context()); err == nil || err.Error() != "attach web: it does not stay; only wick run -d can be attached to" {
		t.Errorf("without a command: %v", err)
	}
	server.Close(nil)
	m.Release()
	if _, _, err := other.Attach(t.Context()); !errors.Is(err, ErrNotRunning) && !errors.Is(err, ErrUnknown) {
		t.Errorf("of a machine that does not run: %v", err)
	}
}

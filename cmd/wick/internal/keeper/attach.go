package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// OpAttach has part in the machine's command, by messages in both directions.
const OpAttach = "attach"

// Message is one message of an attach. The first is the supervisor's Joined, or its End with an
// error.
type Message struct {
	// Stdout, Stderr and Lost are output of the command, and how many bytes of it were dropped
	// because this reader did not take them. End is the command's end.
	Stdout []byte  `json:"o,omitempty"`
	Stderr []byte  `json:"e,omitempty"`
	Lost   int64   `json:"lost,omitempty"`
	Joined *Joined `json:"joined,omitempty"`
	End    *End    `json:"end,omitempty"`
	// Stdin, its Close, Signal and Rows with Cols are for the command.
	Stdin  []byte `json:"i,omitempty"`
	Close  bool   `json:"close,omitempty"`
	Signal int    `json:"signal,omitempty"`
	Rows   uint16 `json:"rows,omitempty"`
	Cols   uint16 `json:"cols,omitempty"`
}

// Joined says what the command has.
type Joined struct {
	Terminal bool `json:"terminal"`
	Stdin    bool `json:"stdin"`
}

// End says how the command ended, or why there is no command.
type End struct {
	Code  int    `json:"code"`
	Error string `json:"error,omitempty"`
}

// Stream is one end of an attach. Send may be called from any goroutine, and Receive from one.
type Stream struct {
	conn net.Conn
	in   *json.Decoder
	mu   sync.Mutex
	out  *json.Encoder
}

// Send sends a message.
func (s *Stream) Send(m *Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Encode(m)
}

// Receive returns the next message. The error is io.EOF if the other side has closed the stream.
func (s *Stream) Receive() (*Message, error) {
	m := &Message{}
	if err := s.in.Decode(m); err != nil {
		return nil, err
	}
	return m, nil
}

// Close ends the stream, and all its calls.
func (s *Stream) Close() error { return s.conn.Close() }

// Attach has part in the machine's command. The caller must call Close.
func (m *Machine) Attach(ctx context.Context) (*Stream, *Joined, error) {
	state, err := m.State()
	if err != nil {
		return nil, nil, err
	}
	fail := func(err error) error { return fmt.Errorf("attach %s: %w", state.Name, err) }
	if !state.Status.Live() {
		return nil, nil, fail(ErrNotRunning)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", m.Path("control"))
	if err != nil && !m.held() {
		err = ErrNotRunning
	}
	if err != nil {
		return nil, nil, fail(err)
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	s := &Stream{conn: conn, in: json.NewDecoder(conn), out: json.NewEncoder(conn)}
	err = s.out.Encode(Request{Op: OpAttach})
	var first *Message
	if err == nil {
		first, err = s.Receive()
	}
	switch {
	case err != nil:
	case first.End != nil:
		err = errors.New(first.End.Error)
	case first.Joined == nil:
		err = errors.New("the supervisor is of another version of wick")
	default:
		return s, first.Joined, nil
	}
	conn.Close()
	return nil, nil, fail(err)
}

// mostHeld limits the output that waits for a viewer, in bytes. A viewer that takes nothing for
// patience loses what is more than that. Until then its command waits for it. At the end it has
// lastPatience for each message.
const (
	mostHeld     = 1 << 20
	patience     = time.Second
	lastPatience = 5 * time.Second
)

// Viewers passes the output of a command on to those that are attached. Its methods may be called
// from any goroutine.
type Viewers struct {
	mu  sync.Mutex
	all map[*viewer]struct{}
}

// viewer is one that is attached. Its loop sends what waits.
type viewer struct {
	stream  *Stream
	mu      sync.Mutex
	changed *sync.Cond
	held    []*Message
	size    int   // of the output in held
	lost    int64 // output that was dropped behind held
	late    bool  // it was waited for in vain, and has not taken all since
	over    bool  // no more comes
}

// Add adds a viewer, after it was told what it joins.
func (v *Viewers) Add(s *Stream, joined *Joined) (leave func()) {
	one := &viewer{stream: s}
	one.changed = sync.NewCond(&one.mu)
	one.held = append(one.held, &Message{Joined: joined})
	v.mu.Lock()
	if v.all == nil {
		v.all = map[*viewer]struct{}{}
	}
	v.all[one] = struct{}{}
	v.mu.Unlock()
	var sending sync.WaitGroup
	sending.Go(one.send)
	return func() {
		v.mu.Lock()
		delete(v.all, one)
		v.mu.Unlock()
		one.finish(nil)
		sending.Wait()
	}
}

// list returns the viewers.
func (v *Viewers) list() []*viewer {
	v.mu.Lock()
	defer v.mu.Unlock()
	list := make([]*viewer, 0, len(v.all))
	for one := range v.all {
		list = append(list, one)
	}
	return list
}

// Output returns a writer of one of the command's outputs. It never fails.
func (v *Viewers) Output(stderr bool) io.Writer { return viewersOutput{v, stderr} }

type viewersOutput struct {
	*Viewers
	stderr bool
}

// Write implements io.Writer.
func (o viewersOutput) Write(p []byte) (int, error) {
	list := o.list()
	if len(list) == 0 {
		return len(p), nil
	}
	text := append([]byte(nil), p...)
	m := &Message{Stdout: text}
	if o.stderr {
		m = &Message{Stderr: text}
	}
	for _, one := range list {
		one.add(m, len(p))
	}
	return len(p), nil
}

// End tells all viewers of the command's end.
func (v *Viewers) End(e End) {
	for _, one := range v.list() {
		one.finish(&Message{End: &e})
	}
}

// add has n bytes of output wait for the viewer.
func (one *viewer) add(m *Message, n int) {
	one.mu.Lock()
	defer one.mu.Unlock()
	if full := func() bool { return one.size+n > mostHeld && !one.over }; full() {
		if !one.late {
			timer := time.AfterFunc(patience, func() {
				one.mu.Lock()
				one.late = one.late || one.size+n > mostHeld
				one.mu.Unlock()
				one.changed.Broadcast()
			})
			for full() && !one.late {
				one.changed.Wait()
			}
			timer.Stop()
		}
		if full() {
			one.lost += int64(n)
			return
		}
	}
	if one.over {
		return
	}
	one.tellLost()
	one.held, one.size = append(one.held, m), one.size+n
	one.changed.Broadcast()
}

// tellLost has the viewer told what was dropped. one.mu is held.
func (one *viewer) tellLost() {
	if one.lost > 0 {
		one.held, one.lost = append(one.held, &Message{Lost: one.lost}), 0
	}
}

// finish ends the viewer, with a last message if it is not nil.
func (one *viewer) finish(last *Message) {
	one.mu.Lock()
	defer one.mu.Unlock()
	if last != nil && !one.over {
		one.tellLost()
		one.held = append(one.held, last)
	}
	one.over = true
	// The end of the machine does not wait for one that takes nothing.
	one.stream.conn.SetWriteDeadline(time.Now().Add(lastPatience))
	one.changed.Broadcast()
}

// send sends what waits, until the viewer is finished or gone.
func (one *viewer) send() {
	defer one.stream.Close() // which ends its Receive
	for {
		one.mu.Lock()
		for len(one.held) == 0 && !one.over {
			one.late = false // it has taken all
			one.changed.Wait()
		}
		if len(one.held) == 0 {
			one.mu.Unlock()
			return
		}
		m, over := one.held[0], one.over
		one.mu.Unlock()
		if over { // each message has its time
			one.stream.conn.SetWriteDeadline(time.Now().Add(lastPatience))
		}
		err := one.stream.Send(m)
		one.mu.Lock()
		one.held, one.size = one.held[1:], one.size-len(m.Stdout)-len(m.Stderr)
		if err != nil {
			one.held, one.size, one.over = nil, 0, true
		}
		one.mu.Unlock()
		one.changed.Broadcast()
	}
}

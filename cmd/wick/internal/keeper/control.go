package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Request asks a supervisor for something.
type Request struct {
	// Op is the name of a method of [Control].
	Op string `json:"op"`
	// Signal is a signal's number, or 0 for the default.
	Signal int `json:"signal,omitempty"`
	// Grace is how long the workload has for its end; negative for the default.
	Grace time.Duration `json:"grace,omitempty"`
	// Path is where a snapshot is made.
	Path string `json:"path,omitempty"`
}

// The operations.
const (
	OpStop    = "stop"    // ends the workload, with Signal and Grace, and then the machine
	OpKill    = "kill"    // sends Signal to the workload; without one, kills the machine
	OpPause   = "pause"   // stops the machine's processors
	OpUnpause = "unpause" // lets them go on
	OpWait    = "wait"    // waits for the machine's end

	OpSnapshot = "snapshot" // saves the machine in a new directory, Path
)

// answer is what a supervisor answers. State is the last one, if the machine has ended.
type answer struct {
	Error string `json:"error,omitempty"`
	State *State `json:"state,omitempty"`
}

// Server answers the requests to a supervisor.
type Server struct {
	do   func(context.Context, Request) error
	join func(*Stream)
	ln   net.Listener
	last atomic.Pointer[State]
	work sync.WaitGroup
}

// Serve answers requests until Close. do is called in a goroutine for each; its context ends with
// the asking process's interest. An attach is passed to join, which may be nil.
func (m *Machine) Serve(do func(context.Context, Request) error, join func(*Stream)) (*Server, error) {
	path := m.Path("control")
	os.Remove(path) // of a supervisor that was killed
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for requests: %w", err)
	}
	s := &Server{do: do, join: join, ln: ln}
	s.work.Go(s.accept)
	return s, nil
}

func (s *Server) accept() {
	for {
		conn, err := s.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(waitPause) // such as EMFILE
			continue
		}
		s.work.Go(func() { s.serve(conn) })
	}
}

// Close ends the server once every request is answered, with the last state of the machine. Calls
// of do must return by themselves.
func (s *Server) Close(last *State) {
	s.last.Store(last)
	s.ln.Close()
	s.work.Wait()
}

const (
	// requestLimit is how long a process may take to send its request.
	requestLimit = 10 * time.Second
	// answerLimit is how long it may take to take the answer.
	answerLimit = time.Second
)

func (s *Server) serve(conn net.Conn) {
	defer conn.Close()
	var r Request
	conn.SetReadDeadline(time.Now().Add(requestLimit))
	in := json.NewDecoder(conn)
	if err := in.Decode(&r); err != nil {
		return
	}
	conn.SetReadDeadline(time.Time{})
	if r.Op == OpAttach {
		stream := &Stream{conn: conn, in: in, out: json.NewEncoder(conn)}
		if s.join == nil {
			stream.Send(&Message{End: &End{Error: "it does not stay; only wick run -d can be attached to"}})
			return
		}
		s.join(stream)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	watch.Go(func() {
		conn.Read(make([]byte, 1)) // ends with the connection
		cancel()
	})
	a := answer{}
	if err := s.do(ctx, r); err != nil {
		a.Error = err.Error()
	}
	a.State = s.last.Load()
	conn.SetWriteDeadline(time.Now().Add(answerLimit))
	json.NewEncoder(conn).Encode(a)
	conn.Close()
	watch.Wait()
}

// ErrNotRunning is wrapped by the error of a request to a machine without a supervisor.
var ErrNotRunning = errors.New("the machine does not run")

// Call has the machine's supervisor do something, and waits until it has. It returns the last state
// of a machine that has ended, and otherwise nil.
func (m *Machine) Call(ctx context.Context, r Request) (*State, error) {
	s, err := m.State()
	if err != nil {
		return nil, err
	}
	if !s.Status.Live() {
		return nil, fmt.Errorf("%s %s: %w", r.Op, s.Name, ErrNotRunning)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", m.Path("control"))
	if err != nil {
		if !m.held() {
			err = ErrNotRunning
		}
		return nil, fmt.Errorf("%s %s: %w", r.Op, s.Name, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var a answer
	if err = json.NewEncoder(conn).Encode(r); err == nil {
		err = json.NewDecoder(conn).Decode(&a)
	}
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s %s: %w", r.Op, s.Name, ctx.Err())
	case err != nil && !m.held():
		return nil, fmt.Errorf("%s %s: %w", r.Op, s.Name, ErrNotRunning) // it has just ended
	case err != nil:
		return nil, fmt.Errorf("%s %s: %w", r.Op, s.Name, err)
	case a.Error != "":
		return nil, fmt.Errorf("%s %s: %s", r.Op, s.Name, a.Error)
	}
	return a.State, nil
}

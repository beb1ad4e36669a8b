package vmm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// QMP is the connection to QEMU's monitor (docs/interop/qmp-spec.rst): JSON objects, one a line.
type QMP struct {
	conn net.Conn
	turn sync.Mutex // one command at a time
	out  chan reply
	done chan struct{}

	// onIOError is called for each disk that cannot be read or written, with its drive's name and
	// the reason.
	onIOError func(drive, reason string)

	mu     sync.Mutex
	reason string // the reason of the machine's stop, once QEMU has reported it
}

type reply struct {
	Return json.RawMessage `json:"return"`
	Error  *QMPError       `json:"error"`
	Event  string          `json:"event"`
	Data   struct {
		Device string `json:"device"`
		Reason string `json:"reason"`
	} `json:"data"`
}

// QMPError reports a command that QEMU refused.
type QMPError struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

func (e *QMPError) Error() string { return e.Class + ": " + e.Desc }

// NewQMP takes ownership of a connection on which QEMU is about to greet. onIOError is called, from
// another goroutine, whenever QEMU reports an I/O error of a drive. It may be nil.
func NewQMP(conn net.Conn, onIOError func(drive, reason string)) *QMP {
	q := &QMP{conn: conn, out: make(chan reply, 1), done: make(chan struct{}), onIOError: onIOError}
	go q.read()
	return q
}

// Start ends the greeting. QEMU accepts commands and sends events only after it.
func (q *QMP) Start(ctx context.Context) error { return q.Do(ctx, "qmp_capabilities", nil, nil) }

func (q *QMP) read() {
	defer close(q.done)
	lines := bufio.NewReader(q.conn)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var r reply
		if json.Unmarshal(line, &r) != nil {
			continue
		}
		switch {
		case r.Event == "SHUTDOWN":
			q.mu.Lock()
			q.reason = r.Data.Reason
			q.mu.Unlock()
		case r.Event == "BLOCK_IO_ERROR":
			if q.onIOError != nil {
				q.onIOError(r.Data.Device, r.Data.Reason)
			}
		case r.Return != nil || r.Error != nil:
			select {
			case q.out <- r:
			default: // the reply to an abandoned command
			}
		}
	}
}

// Do runs a command. It decodes the result into result, unless that is nil.
func (q *QMP) Do(ctx context.Context, command string, arguments, result any) error {
	return q.do(ctx, command, arguments, result, func(b []byte) error {
		_, err := q.conn.Write(b)
		return err
	})
}

// give hands a file to QEMU, which knows it by name until a command uses it. The connection must be
// a Unix socket's.
func (q *QMP) give(ctx context.Context, name string, f *os.File) error {
	conn, ok := q.conn.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("qmp getfd: %w", errors.ErrUnsupported)
	}
	arguments := map[string]any{"fdname": name}
	return q.do(ctx, "getfd", arguments, nil, func(b []byte) error {
		_, _, err := conn.WriteMsgUnix(b, unix.UnixRights(int(f.Fd())), nil)
		return err
	})
}

// do runs a command, which send sends.
func (q *QMP) do(ctx context.Context, command string, arguments, result any, send func([]byte) error) error {
	q.turn.Lock()
	defer q.turn.Unlock()
	select {
	case <-q.out: // the late reply to an abandoned command
	default:
	}
	request := struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
	}{command, arguments}
	b, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("qmp %s: %w", command, err)
	}
	if err := send(append(b, '\n')); err != nil {
		return fmt.Errorf("qmp %s: %w", command, err)
	}
	select {
	case r := <-q.out:
		switch {
		case r.Error != nil:
			return fmt.Errorf("qmp %s: %w", command, r.Error)
		case result != nil:
			return json.Unmarshal(r.Return, result)
		}
		return nil
	case <-q.done:
		return fmt.Errorf("qmp %s: %w", command, errors.New("QEMU closed the connection"))
	case <-ctx.Done():
		return fmt.Errorf("qmp %s: %w", command, ctx.Err())
	}
}

// CtrlAltDel presses the three keys. The machine needs a keyboard ([Spec.Keyboard]).
func (q *QMP) CtrlAltDel(ctx context.Context) error {
	type key struct {
		Type string `json:"type"`
		Data string `json:"data"`
	}
	keys := []key{{"qcode", "ctrl"}, {"qcode", "alt"}, {"qcode", "delete"}}
	return q.Do(ctx, "send-key", map[string]any{"keys": keys}, nil)
}

// Reason returns QEMU's reason why the machine stops: "guest-shutdown", "guest-reset",
// "guest-panic" or "host-qmp-quit". It returns "" if QEMU has reported none, which is final once
// Done is closed.
func (q *QMP) Reason() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.reason
}

// Done is closed when QEMU has closed the connection.
func (q *QMP) Done() <-chan struct{} { return q.done }

// Close ends the connection and waits for the reader.
func (q *QMP) Close() {
	q.conn.Close()
	<-q.done
}

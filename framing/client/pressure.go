package client

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"wick/framing"
)

// PressureWatch describes a stall of the guest's tasks: they waited for a resource for Stall within
// Window.
type PressureWatch struct {
	Resource framing.PressureResource
	// Stall and Window are in whole microseconds. Window is 500 ms to 10 s.
	Stall, Window time.Duration
}

// pressureQueue is how many events are held for a slow loop. If there are more the oldest are
// dropped.
const pressureQueue = 16

// A pressureWatch is the channel of a WatchPressure.
type pressureWatch struct {
	remote
	events chan *Figures
	begun  chan error // receives one value
	over   chan error // receives one value, if the watch begins and then ends

	mu     sync.Mutex
	isOpen bool // mu guards it, because the connection may end meanwhile
}

// WatchPressure yields figures each time that the guest's tasks stall as described. They are
// pressure.avg10 and pressure.avg60 (hundredths of a percent) and pressure.total (microseconds).
// The sequence ends with an error: the context's, or as for [Client.Restore]. A guest has at most 8
// watches at a time.
func (c *Client) WatchPressure(ctx context.Context, w PressureWatch) iter.Seq2[*Figures, error] {
	return func(yield func(*Figures, error) bool) {
		p, err := c.watchPressure(ctx, w)
		if err != nil {
			yield(nil, fmt.Errorf("pressure: %w", err))
			return
		}
		defer p.stop()
		for {
			select {
			case f := <-p.events:
				if !yield(f, nil) {
					return
				}
				continue
			case err = <-p.over:
			case <-ctx.Done():
				err = ctx.Err()
			}
			yield(nil, fmt.Errorf("pressure: %w", err))
			return
		}
	}
}

// watchPressure begins a watch.
func (c *Client) watchPressure(ctx context.Context, w PressureWatch) (*pressureWatch, error) {
	request := framing.Pressure{Resource: w.Resource, StallUS: uint32(w.Stall.Microseconds()), WindowUS: uint32(w.Window.Microseconds())}
	if w.Stall < 0 || w.Window < 0 || w.Stall > time.Minute || w.Window > time.Minute {
		return nil, &RequestError{Op: "pressure", Reason: fmt.Sprintf("stall %v or window %v is outside 0..1m0s", w.Stall, w.Window)}
	}
	if err := c.need(ctx, framing.FeaturePressure); err != nil {
		return nil, err
	}
	p := &pressureWatch{events: make(chan *Figures, pressureQueue), begun: make(chan error, 1), over: make(chan error, 1)}
	err := c.openChannel(ctx, p, 32, func(r remote) { p.remote = r }, func(dst []byte, seq uint32) []byte {
		return framing.AppendPressure(dst, seq, request)
	})
	if err != nil {
		return nil, err
	}
	select {
	case err := <-p.begun:
		return p, err
	case <-ctx.Done():
		p.stop()
		return nil, ctx.Err()
	}
}

// stop ends the watch.
func (p *pressureWatch) stop() {
	p.c.closeChannel(p.seq)
	p.remote.close(framing.StreamInput)
}

// receive implements receiver.
func (p *pressureWatch) receive(f *frame) (last bool, err error) {
	switch f.Type {
	case framing.TypeDone:
		d, err := framing.ParseDone(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		if d.Errno == 0 && p.open() {
			return false, nil
		}
		p.end(&OpError{"pressure", guestErrno(d.Errno), string(d.Reason)})
		return true, nil
	case framing.TypeFigures:
		figures, err := framing.ParseFigures(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		if len(p.events) == cap(p.events) {
			select {
			case <-p.events:
			default:
			}
		}
		p.events <- figuresOf(figures) // there is room, because only this goroutine sends
		return false, nil
	case framing.TypeError:
		message, err := framing.ParseError(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		p.end(&RemoteError{Seq: f.Seq, Message: string(message)})
		return true, nil
	}
	return false, protocolErrorf("%v on the channel of a pressure", f.Type)
}

// open marks the watch as begun, and reports whether it had neither begun nor ended before.
func (p *pressureWatch) open() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isOpen {
		return false
	}
	select {
	case p.begun <- nil:
		p.isOpen = true
	default:
	}
	return p.isOpen
}

// end reports why the watch ended. Only the first call has an effect.
func (p *pressureWatch) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	to := p.begun
	if p.isOpen {
		to = p.over
	}
	select {
	case to <- err:
	default:
	}
}

// lost implements receiver.
func (p *pressureWatch) lost(err error) { p.end(err) }

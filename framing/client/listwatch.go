package client

import (
	"context"
	"fmt"
	"iter"

	"wick/framing"
)

// listWatch is the channel of a request that is answered by a list, and by another after each
// change.
type listWatch[T any] struct {
	remote
	op    string
	reply framing.Type
	parse func(payload []byte) ([]T, error)
	lists chan []T   // has the newest
	over  chan error // has the error that ended it
}

// begin returns the lists. encode appends the request. A slow loop sees only the newest list.
func (w listWatch[T]) begin(
	ctx context.Context, c *Client, feature Features, encode func(dst []byte, seq uint32) []byte,
) iter.Seq2[[]T, error] {
	return func(yield func([]T, error) bool) {
		w := &w
		w.lists, w.over = make(chan []T, 1), make(chan error, 1)
		err := c.need(ctx, feature)
		if err == nil {
			err = c.openChannel(ctx, w, framing.HeaderSize+1, func(r remote) { w.remote = r }, encode)
		}
		if err != nil {
			yield(nil, fmt.Errorf("%s: %w", w.op, err))
			return
		}
		defer w.stop()
		for {
			select {
			case list := <-w.lists:
				if !yield(list, nil) {
					return
				}
				continue
			case err = <-w.over:
			case <-ctx.Done():
				err = ctx.Err()
			}
			yield(nil, fmt.Errorf("%s: %w", w.op, err))
			return
		}
	}
}

// stop ends the watch.
func (w *listWatch[T]) stop() {
	w.c.closeChannel(w.seq)
	w.remote.close(framing.StreamInput)
}

// receive implements receiver.
func (w *listWatch[T]) receive(f *frame) (last bool, err error) {
	switch f.Type {
	case w.reply:
		list, err := w.parse(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		select {
		case <-w.lists:
		default:
		}
		w.lists <- list // there is room, because only this function sends
		return false, nil
	case framing.TypeDone:
		d, err := framing.ParseDone(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		w.end(opError(w.op, &d))
		return true, nil
	case framing.TypeError:
		message, err := framing.ParseError(f.Payload)
		if err != nil {
			return false, &ProtocolError{Err: err}
		}
		w.end(&RemoteError{Seq: f.Seq, Message: string(message)})
		return true, nil
	}
	return false, protocolErrorf("%v on the channel of a watch", f.Type)
}

// end ends the watch with an error. Only the first call counts.
func (w *listWatch[T]) end(err error) {
	select {
	case w.over <- err:
	default:
	}
}

// lost implements receiver.
func (w *listWatch[T]) lost(err error) { w.end(err) }

package client

import (
	"slices"

	"wick/framing"
)

// keep decides about the payload of a long frame before it comes: one that nobody waits for any more is not held.
func (c *Client) keep(h framing.Header) bool {
	switch h.Type {
	case framing.TypeProcessExit, framing.TypeError:
		return true
	case framing.TypeStdoutChunk:
		return c.onData != nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pending[h.Seq] != nil || c.channels[h.Seq] != nil
}

// deliver hands a frame to whom it is for. Its error is a *ProtocolError.
func (c *Client) deliver(f *frame) error {
	if f.Type >= framing.TypeHello {
		if r := c.receiver(f.Seq); r != nil {
			return c.deliverTo(r, f)
		}
	}
	switch f.Type {
	case framing.TypePong, framing.TypeExecResult, framing.TypeWriteFileResult, framing.TypeSpawnResult, framing.TypeShutdownAck,
		framing.TypeHelloResult, framing.TypeDone, framing.TypeStatResult, framing.TypeProcessList, framing.TypeFigures:
		return c.deliverReply(f)
	case framing.TypeOutput, framing.TypeClose, framing.TypeCredit, framing.TypeStarted, framing.TypeExited:
		return nil // of a channel that this side has given up
	case framing.TypeError:
		return c.deliverError(f)
	case framing.TypeProcessExit:
		return c.deliverExit(f)
	case framing.TypeStdoutChunk:
		return c.deliverStdout(f)
	case framing.TypeReady:
		return protocolErrorf("a second ready")
	}
	if f.Type.FromHost() {
		return protocolErrorf("%v, which only a host may send", f.Type)
	}
	return nil // an extension, of which this side has not heard
}

// deliverReply completes the call that waits for f. One that was forgotten is none, so its reply is dropped.
func (c *Client) deliverReply(f *frame) error {
	if f.Seq == 0 {
		return protocolErrorf("%v with seq 0", f.Type)
	}
	call := c.claim(f.Seq)
	if call == nil {
		return nil
	}
	var err error
	if f.Type == call.want || f.Type == framing.TypeDone && call.want > framing.TypeHello {
		err = c.parseReply(f, call)
	} else {
		err = protocolErrorf("%v in answer to what asks for %v", f.Type, call.want)
	}
	if err != nil {
		// The connection ends of it, and the call as all others do.
		c.restore(call)
		return err
	}
	call.answer(nil)
	return nil
}

// parseReply sets the call's reply.
func (c *Client) parseReply(f *frame, call *call) error {
	var err error
	switch f.Type {
	case framing.TypePong, framing.TypeShutdownAck:
		if f.Size != 0 {
			return protocolErrorf("%v with a payload of %d bytes", f.Type, f.Size)
		}
	case framing.TypeExecResult:
		err = framing.ParseExecResult(f.own(), &call.result)
	case framing.TypeWriteFileResult:
		var reason []byte
		reason, call.ok, err = framing.ParseWriteFileResult(f.Payload)
		call.reply.reason = string(reason)
	case framing.TypeSpawnResult:
		call.pid, err = framing.ParseSpawnResult(f.Payload)
		if err == nil {
			c.forgetExits(call.pid)
		}
	case framing.TypeDone:
		call.isDone = true
		call.reply.done, err = framing.ParseDone(f.own())
		if err == nil && call.reply.done.Errno == 0 && call.want != framing.TypeDone {
			return protocolErrorf("a done without an error in answer to what asks for %v", call.want)
		}
	default:
		call.payload = f.own()
	}
	if err != nil {
		return &ProtocolError{Err: err}
	}
	return nil
}

// own returns the payload as a slice that nothing overwrites.
func (f *frame) own() []byte {
	if f.Owned {
		return f.Payload
	}
	return slices.Clone(f.Payload)
}

// deliverError ends the call that the guest refused. With seq 0 it speaks of the connection, which it is about to close.
func (c *Client) deliverError(f *frame) error {
	message, err := framing.ParseError(f.Payload)
	if err != nil {
		return &ProtocolError{Err: err}
	}
	e := &RemoteError{Seq: f.Seq, Message: string(message)}
	if f.Seq == 0 {
		c.lastWords = e
	} else if call := c.claim(f.Seq); call != nil {
		call.answer(e)
	}
	return nil
}

// claim takes the call with the given number out of those that wait. It is nil if there is none.
func (c *Client) claim(seq uint32) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	call := c.pending[seq]
	delete(c.pending, seq)
	return call
}

// restore undoes claim, unless the connection has ended meanwhile, which then is the call's answer.
func (c *Client) restore(call *call) {
	c.mu.Lock()
	if c.err == nil {
		c.pending[call.seq] = call
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	call.answer(c.err)
}

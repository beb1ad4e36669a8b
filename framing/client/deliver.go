package client

import (
	"slices"

	"wick/framing"
)

// keep decides before it arrives whether the payload of a long frame is held. It is not if no call
// waits for it any more.
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

// deliver delivers a frame to its receiver. Its error is a *ProtocolError.
func (c *Client) deliver(f *frame) error {
	if f.Type >= framing.TypeHello {
		if r := c.receiver(f.Seq); r != nil {
			return c.deliverTo(r, f)
		}
	}
	switch f.Type {
	case framing.TypePong, framing.TypeExecResult, framing.TypeWriteFileResult, framing.TypeSpawnResult, framing.TypeShutdownAck,
		framing.TypeHelloResult, framing.TypeDone, framing.TypeStatResult, framing.TypeProcessList, framing.TypeFigures,
		framing.TypePortList, framing.TypeFacts, framing.TypeIdentityResult:
		return c.deliverReply(f)
	case framing.TypeOutput, framing.TypeClose, framing.TypeCredit, framing.TypeStarted, framing.TypeExited:
		return nil // a channel that this side has closed
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
	return nil // an extension that this side does not know
}

// deliverReply completes the call that waits for f. It drops the reply of a call that was
// forgotten.
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
		err = protocolErrorf("%v in answer to a request for %v", f.Type, call.want)
	}
	if err != nil {
		// The error ends the connection, and this call with all others.
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
			return protocolErrorf("a done without an error in answer to a request for %v", call.want)
		}
	default:
		call.payload = f.own()
	}
	if err != nil {
		return &ProtocolError{Err: err}
	}
	return nil
}

// own returns the payload as a slice that is never overwritten.
func (f *frame) own() []byte {
	if f.Owned {
		return f.Payload
	}
	return slices.Clone(f.Payload)
}

// deliverError ends the call that the guest refused. With seq 0 the error is about the connection,
// which the guest is about to close.
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

// claim unregisters the call with the given seq and returns it, or nil.
func (c *Client) claim(seq uint32) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	call := c.pending[seq]
	delete(c.pending, seq)
	return call
}

// restore undoes claim. If the connection has ended meanwhile it answers the call with that error.
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

package modeltest

import (
	"errors"
	"fmt"

	"wick/framing/wiretest"
)

// flooded is a channel that gets more input than the agent granted. It never ends.
type flooded struct{ seq uint32 }

func (f flooded) String() string           { return fmt.Sprintf("seq %d, flooded", f.seq) }
func (f flooded) next() ([]byte, progress) { return nil, rests }
func (f flooded) lost()                    {}

func (f flooded) take(typ byte, payload []byte) (over bool, err error) {
	if typ != wiretest.Started && typ != wiretest.Credit {
		err = fmt.Errorf("type 0x%02X %s", typ, wiretest.Brief(payload))
	}
	return false, err
}

// flood makes a request that opens a channel, and more input than the agent granted. The agent must
// report that, end the connection and undo the request.
func (h *host) flood(c *conn) (frames []byte, err error) {
	seq := h.seq()
	if err := c.owe(&request{what: "flood", seq: seq, channel: flooded{seq}}); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.refusal = fmt.Sprintf("more input than credit, seq %d", seq)
	c.mu.Unlock()
	if h.r.IntN(2) == 0 || h.m.running.Load() > 50 {
		// Send a single frame, because the agent grants no credit in the middle of one.
		frames = wiretest.Raw(wiretest.Write, seq, writePayload(0, 0, 0, h.m.dir+"/evil"))
		return append(frames, wiretest.Raw(wiretest.Input, seq, noise(h.r, writeWindow+1+h.r.IntN(1000)))...), nil
	}
	p := &proc{id: lastProc.Add(1)<<8 | 0x5e, flags: fShell | fStdin}
	p.shell("exec sleep 1000")
	frames = wiretest.Raw(wiretest.Start, seq, p.startPayload([2]int{}))
	// A pipe takes 64 KiB, and the agent grants as much again.
	for left := 64<<10 + 2*inputWindow; left > 0; {
		n := 1 + h.r.IntN(left+1000)
		frames = append(frames, wiretest.Raw(wiretest.Input, seq, noise(h.r, n))...)
		left -= n
	}
	return frames, nil
}

// steal opens a second connection of the host and attaches there to a process of the first. The
// agent must report that on the first.
func (h *host) steal(c *conn) error {
	other, err := h.m.dial(fmt.Sprintf("connection %d of host %d, a second", h.m.connNumber.Add(1), h.n))
	if err != nil {
		return err
	}
	var t *binding
	if err = other.opened(); err == nil {
		t = c.someBinding()
	}
	if t != nil {
		hello := h.hello(other)
		attach := h.bind(other, t.stolen, true)
		c.mu.Lock()
		t.by = attach.channel.(*binding)
		c.mu.Unlock()
		err = other.owe(hello, attach)
		if err == nil {
			err = h.send(other, append(hello.frame, attach.frame...))
		}
		if err == nil {
			err = h.tend(other, h.r.IntN(20))
		}
	}
	if err == nil {
		err = h.leave(other, h.someEnd(), false)
	}
	if err = h.orderly(other, err); errors.Is(err, errEnded) {
		return nil
	}
	return err
}

// someBinding returns the binding of a kept process that another connection is about to steal, or
// nil. The binding is left with a copy of the process. It checks the remaining frames against the
// copy and sends nothing more.
func (c *conn) someBinding() (t *binding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range c.channels {
		if own, ok := ch.(*binding); ok && own.opened && !own.asked && own.stolen == nil &&
			own.p.keep != 0 && (t == nil || own.seq < t.seq) {
			t = own
		}
	}
	if t != nil {
		rest := *t.p
		t.p, t.stolen = &rest, t.p
	}
	return t
}

package modeltest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing/wiretest"
)

// binding is the channel of a start or an attach: a process on a connection.
type binding struct {
	h   *host
	c   *conn
	p   *proc
	seq uint32
	r   *rand.Rand

	attach bool
	opened bool // started came
	exited bool
	gone   bool     // the agent confirmed that it is released
	asked  bool     // the release and a check of it were sent
	stays  bool     // it is left for another connection to release
	stolen *proc    // the process, if another connection has it; p is a copy then
	by     *binding // the binding that stole it
	got    atomic.Bool

	out     [2]grants
	closed  [2]bool // by the guest
	at      int     // offset in the input of the next byte to send
	credit  int     // for input
	ended   bool    // the host closed the input
	broken  bool    // the guest closed the input
	refused bool    // the host closed stdout
	resized bool
	killed  bool
}

// bind makes the channel of a process and the request that opens it. The channel continues where
// the previous one of the process stopped.
func (h *host) bind(c *conn, p *proc, attach bool) *request {
	t := &binding{h: h, c: c, p: p, seq: h.seq(), r: newRand(h.r.Uint64(), p.id), attach: attach}
	var credit [2]int
	for i := range t.out {
		t.out[i] = grants{r: t.r, careful: p.keep != 0}
		credit[i] = t.out[i].begin()
	}
	q := &request{what: "start of " + p.String(), seq: t.seq, channel: t}
	if attach {
		q.what = "attach to " + p.String()
		q.frame = wiretest.Raw(wiretest.Attach, t.seq, attachPayload(p.id, p.got, credit))
		h.m.attaches.Add(1)
	} else {
		q.frame = wiretest.Raw(wiretest.Start, t.seq, p.startPayload(credit))
		h.m.begun(p)
	}
	return q
}

func (t *binding) String() string {
	return fmt.Sprintf("seq %d, %v, kept %d ms, attached %v, bytes %v of [%d %d], granted [%d %d], input %d of %d, closed %v",
		t.seq, t.p, t.p.keep, t.attach, t.p.got, t.p.want[0].size, t.p.want[1].size, t.out[0].granted-t.out[0].came, t.out[1].granted-t.out[1].came,
		t.at, len(t.p.input), t.closed)
}

// take implements [channel].
func (t *binding) take(typ byte, payload []byte) (over bool, err error) {
	switch {
	case typ == wiretest.Error && (t.stolen != nil || t.p.loose):
		if t.stolen == nil {
			t.h.m.snatched(t.p)
		}
		return true, wantError("attached by another connection")(typ, payload)
	case !t.opened:
		return t.first(typ, payload)
	}
	if t.exited {
		return false, fmt.Errorf("type 0x%02X after its exited", typ)
	}
	in, err := wiretest.Parse(typ, payload)
	if err != nil {
		return false, err
	}
	switch typ {
	case wiretest.Output:
		return false, t.output(in.Int("stream")-1, in.Get("data").Text)
	case wiretest.Close:
		return false, t.close(in.Int("stream"))
	case wiretest.Credit:
		n := in.Int("bytes")
		if in.Int("stream") != 0 || n == 0 || t.broken {
			return false, fmt.Errorf("credit %s", wiretest.Brief(payload))
		}
		t.credit += n
		t.p.taken += n
		if t.credit > inputWindow || t.p.taken > t.at {
			return false, fmt.Errorf("credit of %d: %d bytes are open then, of %d sent %d taken", n, t.credit, t.at, t.p.taken)
		}
		return false, nil
	case wiretest.Exited:
		return t.receipt(payload)
	}
	return false, fmt.Errorf("type 0x%02X %s", typ, wiretest.Brief(payload))
}

// first checks the answer to the request that opened the channel.
func (t *binding) first(typ byte, payload []byte) (over bool, err error) {
	p := t.p
	switch {
	case typ == wiretest.Started && p.reason != byFailure:
		in, err := wiretest.Parse(typ, payload)
		if err != nil {
			return false, err
		}
		pid, taken, credit := in.Int("pid"), in.Int("taken"), in.Int("credit")
		stdin := p.flags&fStdin != 0
		if t.attach && p.keep == 0 && p.lostFully {
			return false, fmt.Errorf("started, and it was to be killed with its connection")
		}
		switch {
		case p.pid != 0 && p.pid != pid, pid == 0:
			return false, fmt.Errorf("pid %d, was %d", pid, p.pid)
		case taken < p.taken, taken > p.offered, !t.attach && taken > 0:
			return false, fmt.Errorf("%d bytes of stdin taken, of %d sent, and %d before", taken, p.offered, p.taken)
		case !stdin && credit != 0, !t.attach && stdin && credit != inputWindow, credit > inputWindow:
			return false, fmt.Errorf("credit %d", credit)
		}
		p.pid, p.taken, p.confirmed = pid, taken, true
		t.opened, t.at, t.credit = true, taken, credit
		t.got.Store(true)
		return false, nil
	case typ == wiretest.Exited && (!t.attach || p.reason == byFailure && len(p.limits) > 0):
		// A start that fails takes a while, and an attach may arrive meanwhile.
		r, err := parseReceipt(payload)
		if err == nil {
			err = p.judge(r, false)
		}
		t.h.m.forget(p)
		return true, err
	case typ == wiretest.Error && !t.attach:
		if !t.h.m.crowded(payload) && !t.h.m.full(payload) {
			return false, fmt.Errorf("error %s", wiretest.Brief(payload))
		}
		t.h.m.forget(p)
		return true, nil
	case typ == wiretest.Done && t.attach:
		d, err := parseDone(typ, payload)
		if err == nil {
			err = t.h.m.missing(p, d)
		}
		return true, err
	}
	return false, fmt.Errorf("type 0x%02X %s", typ, wiretest.Brief(payload))
}

// output checks content of stdout or stderr.
func (t *binding) output(i int, b []byte) error {
	p := t.p
	switch {
	case i < 0 || i > 1 || t.closed[i]:
		return fmt.Errorf("output of stream %d", i+1)
	case len(b) == 0 || len(b) > maxStreamed:
		return fmt.Errorf("output of %d bytes", len(b))
	case !t.out[i].arrived(len(b)):
		return fmt.Errorf("output beyond the credit, by %d", t.out[i].came-t.out[i].granted)
	case !p.wrote(i, p.got[i], b):
		return fmt.Errorf("stream %d goes on with %s at %d", i+1, wiretest.Brief(b), p.got[i])
	case p.cap > 0 && p.got[i]+len(b) > p.cap:
		return fmt.Errorf("output of %d bytes, the cap is %d", p.got[i]+len(b), p.cap)
	}
	p.got[i] += len(b)
	return nil
}

// close checks the guest's close of a stream.
func (t *binding) close(stream int) error {
	switch {
	case stream > 2, stream > 0 && t.closed[stream-1], stream == 0 && (t.broken || t.p.flags&fStdin == 0):
		return fmt.Errorf("close of stream %d", stream)
	case stream == 0:
		t.broken = true
	default:
		t.closed[stream-1] = true
	}
	return nil
}

// receipt checks the exited.
func (t *binding) receipt(payload []byte) (over bool, err error) {
	if t.closed != [2]bool{true, true} {
		return false, fmt.Errorf("exited before both closes")
	}
	r, err := parseReceipt(payload)
	if err == nil {
		err = t.p.judge(r, t.h.m.releasing.Load())
	}
	if err != nil {
		return false, err
	}
	t.h.m.receipts.Add(1)
	t.exited = true
	if t.p.keep == 0 {
		t.h.m.forget(t.p)
	}
	return t.p.keep == 0, nil
}

// next implements [channel].
func (t *binding) next() ([]byte, progress) {
	switch {
	case t.stolen != nil && t.by.got.Load():
		return nil, awaits // the error that says so
	case t.stolen != nil:
		return nil, rests
	case t.gone:
		return nil, over
	case t.exited:
		return t.release()
	case !t.opened:
		return nil, awaits
	}
	p := t.p
	var b []byte
	if p.got[0] >= p.needs {
		if p.size[0] > 0 && !t.resized {
			t.resized = true
			b = append(b, wiretest.Make(wiretest.Resize, t.seq, p.size[0], p.size[1])...)
		}
		b = append(b, t.input()...)
		if p.kills && !t.killed {
			t.killed = true
			b = append(b, t.kill()...)
		}
	}
	if p.unwantedAt > 0 && p.got[0] >= p.unwantedAt && !t.closed[0] && !t.refused {
		t.refused, p.unwanted = true, true
		b = append(b, wiretest.Make(wiretest.Close, t.seq, 1)...)
	}
	for i := range t.out {
		if n := t.out[i].next(); n > 0 && !t.closed[i] {
			b = append(b, wiretest.Make(wiretest.Credit, t.seq, byte(i+1), n)...)
		}
	}
	if p.held {
		return b, rests
	}
	return b, awaits
}

// input sends some of stdin, within the credit, and closes it at the end. Some input may follow the
// close, and the agent must ignore it.
func (t *binding) input() (b []byte) {
	p := t.p
	if p.flags&fStdin == 0 || t.broken {
		return nil
	}
	for t.at < len(p.input) && t.credit > 0 {
		n := min(len(p.input)-t.at, t.credit)
		if t.r.IntN(2) == 0 {
			n = 1 + t.r.IntN(n)
		}
		b = append(b, wiretest.Raw(wiretest.Input, t.seq, p.input[t.at:t.at+n])...)
		t.at += n
		t.credit -= n
		p.offered = max(p.offered, t.at)
		if t.r.IntN(4) == 0 {
			return b // the rest follows when a frame has come
		}
	}
	if t.at == len(p.input) && !t.ended && p.flags&fTerminal == 0 {
		t.ended = true
		b = append(b, wiretest.Make(wiretest.Close, t.seq, 0)...)
		if t.r.IntN(3) == 0 {
			b = append(b, wiretest.Raw(wiretest.Input, t.seq, noise(t.r, t.r.IntN(t.credit+1)))...)
		}
	}
	return b
}

// kill sends the process its signal.
func (t *binding) kill() []byte {
	return t.also(&request{
		what: "signal to " + t.p.String(), prompt: true, check: wantDone(0, unix.ESRCH),
		frame: wiretest.Make(wiretest.Signal, 0, t.p.id, 0, t.p.signal, t.p.scope),
	})
}

// also sends a request that has a single reply. The connection's mu is held.
func (t *binding) also(q *request) []byte {
	q.seq, q.at = t.h.seq(), time.Now()
	binary.BigEndian.PutUint32(q.frame[5:], q.seq)
	t.c.pending[q.seq] = q
	return q.frame
}

// release acknowledges the receipt, and checks that the process is gone then. It leaves some
// processes for another connection to release.
func (t *binding) release() ([]byte, progress) {
	switch {
	case t.asked:
		return nil, awaits
	case t.p.loose:
		return nil, rests // an attach under way may steal it first
	case !t.stays:
		t.stays = t.r.IntN(4) == 0 && t.h.m.mayStay()
	}
	if t.stays {
		return nil, rests
	}
	t.asked, t.p.released = true, true
	b := wiretest.Raw(wiretest.Release, t.seq, nil)
	return append(b, t.also(&request{
		what: "attach to a released process", prompt: true,
		frame: wiretest.Raw(wiretest.Attach, 0, attachPayload(t.p.id, t.p.got, [2]int{})),
		check: func(typ byte, payload []byte) error {
			if err := wantDone(unix.ESRCH)(typ, payload); err != nil {
				return err
			}
			t.c.mu.Lock()
			defer t.c.mu.Unlock()
			t.gone = true
			t.h.m.forget(t.p)
			return nil
		},
	})...), awaits
}

// lost implements [channel].
func (t *binding) lost() {
	if !t.gone && t.stolen == nil {
		t.h.m.orphan(t)
	}
}

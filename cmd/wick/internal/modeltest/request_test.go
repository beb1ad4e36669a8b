package modeltest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"wick/framing/wiretest"
)

// request is a frame and what is owed for it.
type request struct {
	what  string
	frame []byte
	seq   uint32
	// prompt: it is answered before the next frame is looked at, and so even if that ends the connection.
	prompt bool
	// silent: it is never answered.
	silent bool
	// channel, if not nil, judges all that comes with the seq, instead of check.
	channel channel
	// check judges the reply. It is called once at most.
	check func(typ byte, payload []byte) error
	// lost, if not nil, is told that the connection ended before the reply.
	lost func()
	at   time.Time // when it was posted
}

// wantError judges an error with that text, any if it is empty.
func wantError(text string) func(byte, []byte) error {
	return func(typ byte, payload []byte) error {
		if typ != wiretest.Error {
			return fmt.Errorf("type 0x%02X, want an error", typ)
		}
		got, err := parseText(payload)
		if err != nil {
			return err
		}
		if got == "" || text != "" && got != text {
			return fmt.Errorf("error %q, want %q", got, text)
		}
		return nil
	}
}

// wantEmpty judges a reply of that type without a payload.
func wantEmpty(want byte) func(byte, []byte) error {
	return func(typ byte, payload []byte) error {
		if typ != want || len(payload) > 0 {
			return fmt.Errorf("type 0x%02X with %s, want type 0x%02X with nothing", typ, wiretest.Brief(payload), want)
		}
		return nil
	}
}

// noise is bytes of no meaning.
func noise(r *rand.Rand, n int) []byte {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], r.Uint64())
	b := make([]byte, n)
	rand.NewChaCha8(seed).Read(b)
	return b
}

// someSize is a number of bytes, small as a rule, and often about a boundary at which a buffer may end.
func someSize(r *rand.Rand, most int) int {
	n := 0
	switch r.IntN(10) {
	case 0:
	case 1, 2, 3:
		n = r.IntN(64)
	case 4, 5:
		n = r.IntN(5000)
	case 6, 7:
		// A frame's header, and a payload's own, are some of what a buffer holds.
		n = 64<<10 - r.IntN(40) + r.IntN(20)
	case 8:
		n = (1+r.IntN(4))*(64<<10) - 20 + r.IntN(40)
	default:
		n = r.IntN(most + 1)
	}
	return min(n, most)
}

func (h *host) ping() *request {
	seq := h.seq()
	var payload []byte
	if h.r.IntN(3) == 0 {
		payload = noise(h.r, someSize(h.r, 200<<10))
	}
	return &request{
		what: "ping", seq: seq, frame: wiretest.Raw(wiretest.Ping, seq, payload), prompt: true, check: wantEmpty(wiretest.Pong),
	}
}

func (h *host) shutdown() *request {
	seq := h.seq()
	return &request{what: "shutdown", seq: seq, frame: wiretest.Raw(wiretest.Shutdown, seq, noise(h.r, h.r.IntN(9))), check: wantEmpty(wiretest.ShutdownAck)}
}

// report is an error of the host's own.
func (h *host) report() *request {
	seq := h.seq()
	return &request{what: "error", seq: seq, frame: wiretest.Raw(wiretest.Error, seq, noise(h.r, someSize(h.r, 1000))), silent: true}
}

// stranger is a frame of a type that nobody has, or only a guest.
func (h *host) stranger(c *conn) *request {
	seq := h.seq()
	guests := []byte{wiretest.Ready, wiretest.Pong, wiretest.ExecResult, wiretest.WriteFileResult, wiretest.SpawnWatchResult, wiretest.ProcessExit, wiretest.ShutdownAck}
	typ := guests[h.r.IntN(len(guests))]
	if h.r.IntN(2) == 0 {
		if typ = wiretest.ShutdownAck + 1 + byte(h.r.IntN(int(wiretest.Error-wiretest.ShutdownAck)-1)); typ == wiretest.Hello {
			typ++ // it may be one, and then all of the extension is known
		}
	}
	if c.greeted && typ >= wiretest.Hello && typ <= wiretest.Power {
		typ = []byte{wiretest.HelloResult, wiretest.Started, wiretest.Output, wiretest.Exited, wiretest.ProcessList, wiretest.Done, wiretest.StatResult, wiretest.Figures, 0x37, 0x3f}[h.r.IntN(10)]
	}
	return &request{
		what: fmt.Sprintf("frame of type 0x%02X", typ), seq: seq, frame: wiretest.Raw(typ, seq, noise(h.r, someSize(h.r, 200<<10))),
		prompt: true, check: wantError(fmt.Sprintf("unknown message type 0x%02X", typ)),
	}
}

// malformed is a request that does not add up. Were it carried out, a file would tell.
func (h *host) malformed() *request {
	seq := h.seq()
	typ := []byte{wiretest.Exec, wiretest.SpawnWatch, wiretest.WriteFile}[h.r.IntN(3)]
	var payload []byte
	kind := h.r.IntN(6)
	evil := "echo evil >" + h.m.dir + "/evil"
	if typ == wiretest.WriteFile {
		payload = wiretest.Payload(wiretest.WriteFile, h.m.dir+"/evil", 0, noise(h.r, someSize(h.r, 100<<10)))
	} else {
		payload = execPayload(0, evil+"; : "+string(bytes.Repeat([]byte("x"), someSize(h.r, 70<<10))), true, []string{"NAME", "value"})
	}
	switch kind {
	case 0: // cut off; not so that what is left is whole
		payload = payload[:h.r.IntN(min(len(payload), 1000))]
		if typ != wiretest.WriteFile {
			payload = payload[:min(len(payload), 4+1+4+len(evil)-1)]
			if len(payload) >= 8 && len(payload) == 8+int(binary.BigEndian.Uint32(payload[4:])) {
				payload = payload[:7] // it would be a whole one of the shorter form
			}
		}
	case 1:
		payload = append(payload, 0)
	case 2: // a count that is off
		at := 5
		if typ == wiretest.WriteFile {
			at = 2 + len(h.m.dir+"/evil") + 1
		}
		payload[at+1] ^= 1 << h.r.IntN(8)
	case 3: // a NUL
		at := 9 + h.r.IntN(len(evil))
		if typ == wiretest.WriteFile {
			at = 2 + h.r.IntN(len(h.m.dir+"/evil"))
		}
		payload[at] = 0
	case 4: // a flag that nobody knows
		at := 4
		if typ == wiretest.WriteFile {
			at = 2 + len(h.m.dir+"/evil")
		}
		payload[at] = 1 << (2 + h.r.IntN(6))
	case 5:
		if typ == wiretest.WriteFile {
			payload = payload[:1]
		} else {
			payload = execPayload(0, evil, true, []string{[]string{"", "A=B", "A\x00"}[h.r.IntN(3)], "value"})
		}
	}
	return &request{
		what: fmt.Sprintf("malformed frame of type 0x%02X, kind %d", typ, kind), seq: seq, frame: wiretest.Raw(typ, seq, payload),
		prompt: true, check: wantError(""),
	}
}

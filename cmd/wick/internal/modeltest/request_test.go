package modeltest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"wick/framing/wiretest"
)

// request is a frame and the replies that are owed for it.
type request struct {
	what  string
	frame []byte
	seq   uint32
	// prompt says that the agent answers it before it reads the next frame, even a frame that ends
	// the connection.
	prompt bool
	// silent says that the agent never answers it.
	silent bool
	// channel, if not nil, checks everything that comes with the seq, instead of check.
	channel channel
	// check checks the reply. It is called once at most.
	check func(typ byte, payload []byte) error
	// lost, if not nil, is called when the connection ends before the reply.
	lost func()
	at   time.Time // when it was posted
}

// wantError returns a check for an error with that text, or with any text if it is empty.
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

// wantEmpty returns a check for a reply of that type without a payload.
func wantEmpty(want byte) func(byte, []byte) error {
	return func(typ byte, payload []byte) error {
		if typ != want || len(payload) > 0 {
			return fmt.Errorf("type 0x%02X with %s, want type 0x%02X with nothing", typ, wiretest.Brief(payload), want)
		}
		return nil
	}
}

// noise returns n random bytes.
func noise(r *rand.Rand, n int) []byte {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], r.Uint64())
	b := make([]byte, n)
	rand.NewChaCha8(seed).Read(b)
	return b
}

// someSize returns a random number of bytes. It is usually small, and often close to the end of a
// buffer.
func someSize(r *rand.Rand, most int) int {
	n := 0
	switch r.IntN(10) {
	case 0:
	case 1, 2, 3:
		n = r.IntN(64)
	case 4, 5:
		n = r.IntN(5000)
	case 6, 7:
		// The headers of the frame and of its payload take some of the buffer.
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
	return &request{what: "shutdown", seq: seq,
		frame: wiretest.Raw(wiretest.Shutdown, seq, noise(h.r, h.r.IntN(9))),
		check: wantEmpty(wiretest.ShutdownAck)}
}

// report makes an error that the host reports.
func (h *host) report() *request {
	seq := h.seq()
	return &request{what: "error", seq: seq,
		frame: wiretest.Raw(wiretest.Error, seq, noise(h.r, someSize(h.r, 1000))), silent: true}
}

// unknownType makes a frame of an undefined type, or of a type that only a guest sends.
func (h *host) unknownType(c *conn) *request {
	seq := h.seq()
	guests := []byte{wiretest.Ready, wiretest.Pong, wiretest.ExecResult, wiretest.WriteFileResult,
		wiretest.SpawnWatchResult, wiretest.ProcessExit, wiretest.ShutdownAck}
	typ := guests[h.r.IntN(len(guests))]
	if h.r.IntN(2) == 0 {
		if typ = wiretest.ShutdownAck + 1 + byte(h.r.IntN(int(wiretest.Error-wiretest.ShutdownAck)-1)); typ == wiretest.Hello {
			typ++ // it might be a valid hello, and enable the extension
		}
	}
	if c.greeted && typ >= wiretest.Hello && typ <= 0x5f {
		others := []byte{wiretest.HelloResult, wiretest.Started, wiretest.Output, wiretest.Exited,
			wiretest.ProcessList, wiretest.Done, wiretest.StatResult, wiretest.Figures,
			wiretest.Connected, wiretest.Listening, wiretest.Incoming, wiretest.PortList, wiretest.IdentityResult, 0x37, 0x3f}
		typ = others[h.r.IntN(len(others))]
	}
	return &request{
		what: fmt.Sprintf("frame of type 0x%02X", typ), seq: seq,
		frame:  wiretest.Raw(typ, seq, noise(h.r, someSize(h.r, 200<<10))),
		prompt: true, check: wantError(fmt.Sprintf("unknown message type 0x%02X", typ)),
	}
}

// malformed makes an invalid request. If the agent carried it out, a file would show it.
func (h *host) malformed() *request {
	seq := h.seq()
	typ := []byte{wiretest.Exec, wiretest.SpawnWatch, wiretest.WriteFile}[h.r.IntN(3)]
	var payload []byte
	kind := h.r.IntN(6)
	evil := "echo evil >" + h.m.dir + "/evil"
	if typ == wiretest.WriteFile {
		payload = wiretest.Payload(wiretest.WriteFile, h.m.dir+"/evil", 0, noise(h.r, someSize(h.r, 100<<10)))
	} else {
		long := string(bytes.Repeat([]byte("x"), someSize(h.r, 70<<10)))
		payload = execPayload(0, evil+"; : "+long, true, []string{"NAME", "value"})
	}
	switch kind {
	case 0: // cut off, but not to a valid frame
		payload = payload[:h.r.IntN(min(len(payload), 1000))]
		if typ != wiretest.WriteFile {
			payload = payload[:min(len(payload), 4+1+4+len(evil)-1)]
			if len(payload) >= 8 && len(payload) == 8+int(binary.BigEndian.Uint32(payload[4:])) {
				payload = payload[:7] // it would be valid in the shorter form
			}
		}
	case 1:
		payload = append(payload, 0)
	case 2: // a wrong count
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
	case 4: // an undefined flag
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

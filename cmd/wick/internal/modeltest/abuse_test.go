package modeltest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing/wiretest"
)

const (
	// garbageFrames is about the number of frames that a busy host sends in an hour: 55 a second.
	garbageFrames = 200_000
	garbageConns  = 8
	// maxConns is the agent's limit of connections.
	maxConns = 64
	// maxGrowthkB limits the growth of the agent's peak memory. Code that runs for the first time
	// does not count, nor do the two buffers of each busy connection.
	maxGrowthkB   = 1024
	connBufferskB = 2 * 64
)

// TestAbuse has a host misbehave while another host pings. Every ping must be answered. In the end
// the agent must hold what it held at the start, and its memory must not have grown.
func TestAbuse(t *testing.T) {
	if testing.Short() {
		t.Skip("abuses an agent for half a minute: run without -short")
	}
	for _, test := range []struct {
		name string
		do   func(m *model, r *rand.Rand) error
		busy int // connections whose buffers are in use
	}{
		{"garbage in frames", garbageInFrames(1), 0},
		{"garbage in frames of many", garbageInFrames(garbageConns), garbageConns},
		{"garbage", garbage, 0},
		{"a thousand connections", thousandConnections, 0},
		{"16 MiB claimed but not sent", claims, 0},
		{"output read one byte at a time", readBytewise, 0},
		{"a file written one byte at a time", writeBytewise, 0},
		{"more kept processes than the limit", keptMany, 1 + maxKept/2}, // an output buffer each
		{"more channels than the limit", channelsMany, 1},
		{"the largest credit, and nothing read", creditForMuch, 1},
		{"two connections steal one process", tugOfWar, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := here
			s.hosts = 0
			seed := seeds(1)[0]
			a := startAgent(t, false)
			m := newModel(t, a, a.dir+"/files", s, seed)
			stop := m.ping()
			err := test.do(m, newRand(seed, 1<<34))
			pings := stop()
			m.must(err)
			f, err := m.rest()
			m.must(err)
			if f.hwm-m.first.hwm-(f.file-m.first.file) > maxGrowthkB+test.busy*connBufferskB {
				t.Errorf("the peak of memory rose from %d kB to %d kB, code from %d to %d",
					m.first.hwm, f.hwm, m.first.file, f.file)
			}
			t.Logf("%d pings, the slowest %v; %v", pings, m.worst(), f)
		})
	}
}

// ping pings without a pause on the model's own connection. stop ends that and returns the number
// of pings.
func (m *model) ping() (stop func() int) {
	done, over, n := make(chan struct{}), make(chan struct{}), 0
	go func() {
		defer close(over)
		for {
			select {
			case <-done:
				return
			default:
			}
			if err := m.barrier(); err != nil {
				m.fail("the host that behaves: %v", err)
				return
			}
			n++
		}
	}()
	return func() int {
		close(done)
		<-over
		return n
	}
}

// raw is a connection of a host that misbehaves.
type raw struct {
	*net.UnixConn
	in *bufio.Reader
}

// dialRaw opens a raw connection and reads its ready.
func (m *model) dialRaw() (*raw, error) {
	c, err := m.target.dial()
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(patience))
	r := &raw{c, bufio.NewReader(c)}
	typ, seq, _, err := r.frame()
	if err == nil && (typ != wiretest.Ready || seq != 0) {
		err = fmt.Errorf("type 0x%02X seq %d, want ready", typ, seq)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return r, nil
}

// frame reads a frame. It returns io.EOF at the orderly end of the connection.
func (c *raw) frame() (typ byte, seq uint32, payload []byte, err error) {
	f, err := wiretest.ReadFrame(c.in)
	return f.Type, f.Seq, f.Payload, err
}

// garbageFrame makes a frame that requests nothing. answer is the type of the expected reply, or 0.
// Some frames are almost a valid request. If the agent carried one out, a file would show it.
func garbageFrame(m *model, r *rand.Rand, seq uint32) (frame []byte, answer byte) {
	typ := byte(r.IntN(256))
	if typ == wiretest.Shutdown || typ == wiretest.Hello {
		typ++ // a shutdown is valid with any payload, a hello with one of two bytes
	}
	payload := noise(r, r.IntN(200))
	switch typ = []byte{typ, wiretest.Exec, wiretest.SpawnWatch, wiretest.WriteFile}[r.IntN(4)]; typ {
	case wiretest.Exec, wiretest.SpawnWatch:
		if r.IntN(2) == 0 {
			payload = execPayload(0, "touch "+m.dir+"/evil", r.IntN(2) == 0, nil)
			if payload = payload[:r.IntN(len(payload))]; len(payload) == 8 {
				payload = payload[:7] // eight zeros would be a valid request with an empty command
			}
		}
	case wiretest.WriteFile:
		if r.IntN(2) == 0 {
			payload = wiretest.Payload(wiretest.WriteFile, m.dir+"/evil", 0, "x")
			payload = payload[:len(payload)-1]
		}
	case wiretest.Ping:
		return wiretest.Raw(typ, seq, payload), wiretest.Pong
	case wiretest.Error:
		return wiretest.Raw(typ, seq, payload), 0
	}
	return wiretest.Raw(typ, seq, payload), wiretest.Error
}

// garbageInFrames returns a test that sends garbageFrames frames in all, on conns connections at
// once. The answers must come in order.
func garbageInFrames(conns int) func(m *model, r *rand.Rand) error {
	return func(m *model, r *rand.Rand) error {
		var all sync.WaitGroup
		errs := make(chan error, 2*conns)
		for range conns {
			c, err := m.dialRaw()
			if err != nil {
				return err
			}
			defer c.Close()
			seed, frames := r.Uint64(), uint32(garbageFrames/conns)
			all.Go(func() { errs <- c.sendGarbage(m, newRand(seed, 0), frames) })
			all.Go(func() { errs <- c.readAnswers(m, newRand(seed, 0), frames) })
		}
		all.Wait()
		close(errs)
		for err := range errs {
			if err != nil {
				return err
			}
		}
		return nil
	}
}

func (c *raw) sendGarbage(m *model, r *rand.Rand, frames uint32) error {
	out := bufio.NewWriter(c)
	for seq := range frames {
		frame, _ := garbageFrame(m, r, seq)
		if _, err := out.Write(frame); err != nil {
			return err
		}
	}
	return out.Flush()
}

// readAnswers generates the same frames again, to know the answer to each.
func (c *raw) readAnswers(m *model, r *rand.Rand, frames uint32) error {
	for seq := range frames {
		frame, answer := garbageFrame(m, r, seq)
		if answer == 0 {
			continue
		}
		typ, got, payload, err := c.frame()
		if err != nil || typ != answer || got != seq {
			c.Close()
			return fmt.Errorf("frame %d, %s: type 0x%02X seq %d %s, %v, want type 0x%02X", seq,
				wiretest.Brief(frame), typ, got, wiretest.Brief(payload), err, answer)
		}
	}
	return nil
}

// garbage sends random bytes, on one connection after the other. Most begin with an impossible
// length, which the agent answers with an error before it closes. The others begin a frame that is
// never completed.
func garbage(m *model, r *rand.Rand) error {
	for range 2000 {
		c, err := m.dialRaw()
		if err != nil {
			return err
		}
		_, err = c.Write(noise(r, 1+r.IntN(4000)))
		c.CloseWrite()
		for err == nil {
			var typ byte
			var seq uint32
			if typ, seq, _, err = c.frame(); err == nil && (typ != wiretest.Error || seq != 0) {
				err = fmt.Errorf("type 0x%02X seq %d, want an error", typ, seq)
			}
		}
		c.Close()
		if !errors.Is(err, io.EOF) && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
			return err
		}
	}
	return nil
}

// thousandConnections opens as many connections as the limit allows, and many more. The additional
// ones are refused with an error, and the others still work.
func thousandConnections(m *model, _ *rand.Rand) error {
	var served []*raw
	for i := range 1000 {
		c, err := m.dialRaw()
		if err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
		defer c.Close()
		if len(served) < maxConns-1 { // one is the model's
			served = append(served, c)
			continue
		}
		typ, seq, payload, err := c.frame()
		if err == nil {
			if text, _ := parseText(payload); typ != wiretest.Error || seq != 0 || text != "too many connections (limit 64)" {
				err = fmt.Errorf("type 0x%02X seq %d %s", typ, seq, wiretest.Brief(payload))
			} else if _, _, _, err = c.frame(); err == io.EOF {
				continue
			}
		}
		return fmt.Errorf("connection %d: %v, want to be told that there are too many, and the end", i, err)
	}
	for i, c := range served {
		if _, err := c.Write(wiretest.Raw(wiretest.Ping, 7, nil)); err != nil {
			return err
		}
		if typ, seq, _, err := c.frame(); err != nil || typ != wiretest.Pong || seq != 7 {
			return fmt.Errorf("served connection %d: type 0x%02X seq %d, %v, want a pong", i, typ, seq, err)
		}
	}
	return nil
}

// claims has every possible connection announce a frame of 16 MiB, send only its first bytes, and
// wait. The types of the frames differ.
func claims(m *model, _ *rand.Rand) error {
	types := []byte{wiretest.Ping, wiretest.Exec, wiretest.SpawnWatch, wiretest.WriteFile, 0x42}
	for i := range maxConns - 1 {
		c, err := m.dialRaw()
		if err != nil {
			return err
		}
		defer c.Close()
		head := []byte{1, 0, 0, 0, types[i%len(types)], 0, 0, 0, 1} // the longest frame
		if _, err := c.Write(append(head, 0, 0)); err != nil {
			return err
		}
	}
	return m.barrier()
}

// readBytewise reads a result one byte at a time while the agent answers pings, and then the rest
// of it at once.
func readBytewise(m *model, _ *rand.Rand) error {
	const size = 1 << 20
	c, err := m.dialRaw()
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(wiretest.Raw(wiretest.Exec, 1,
		execPayload(0, fmt.Sprintf("yes x | head -c %d", size), false, nil))); err != nil {
		return err
	}
	var got bytes.Buffer
	var one [1]byte
	for i := range 20_000 {
		if _, err := c.Read(one[:]); err != nil { // c.in has buffered nothing
			return err
		}
		got.Write(one[:])
		if i%1000 == 0 {
			if err := m.barrier(); err != nil {
				return err
			}
		}
	}
	c.in = bufio.NewReader(io.MultiReader(&got, c))
	typ, _, payload, err := c.frame()
	if err != nil {
		return err
	}
	r, err := parseResult(typ, payload)
	if err == nil && (r.code != 0 || !bytes.Equal(r.stdout, yes("x", size))) {
		err = fmt.Errorf("%v, want %d bytes", r, size)
	}
	return err
}

// writeBytewise sends a request one byte at a time. The agent must answer a ping after each byte.
func writeBytewise(m *model, _ *rand.Rand) error {
	c, err := m.dialRaw()
	if err != nil {
		return err
	}
	defer c.Close()
	content := yes("y", 1000)
	for _, b := range wiretest.Make(wiretest.WriteFile, 1, m.dir+"/slow", 0, content) {
		if _, err := c.Write([]byte{b}); err != nil {
			return err
		}
		if err := m.barrier(); err != nil {
			return err
		}
	}
	typ, seq, result, err := c.frame()
	if err != nil || typ != wiretest.WriteFileResult || seq != 1 || len(result) == 0 || result[0] != 1 {
		return fmt.Errorf("type 0x%02X seq %d %s, %v, want a success", typ, seq, wiretest.Brief(result), err)
	}
	r, err := m.run("cat " + m.dir + "/slow")
	if err == nil && !bytes.Equal(r.stdout, content) {
		err = fmt.Errorf("the file has %s", wiretest.Brief(r.stdout))
	}
	return err
}

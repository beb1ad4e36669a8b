package modeltest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"wick/framing/wiretest"
)

// maxChannels is the agent's limit of channels on a connection.
const maxChannels = 512

// dialGreeted opens a connection and negotiates the extension on it.
func (m *model) dialGreeted() (*raw, error) {
	c, err := m.dialRaw()
	if err != nil {
		return nil, err
	}
	if _, err = c.Write(wiretest.Make(wiretest.Hello, 1, 1)); err == nil {
		_, err = c.want(wiretest.HelloResult, 1)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// want reads the next frame, which must have that type and seq.
func (c *raw) want(typ byte, seq uint32) (payload []byte, err error) {
	got, gotSeq, payload, err := c.frame()
	if err == nil && (got != typ || gotSeq != seq) {
		err = fmt.Errorf("type 0x%02X seq %d %s, want type 0x%02X seq %d", got, gotSeq, wiretest.Brief(payload), typ, seq)
	}
	return payload, err
}

// abuser makes a process for the abuse tests.
func abuser(keep int, command string) *proc {
	p := &proc{id: lastProc.Add(1)<<8 | 0x5e, flags: fShell, keep: keep}
	p.shell(command)
	return p
}

// keptMany starts as many processes as can be kept. Each writes more than the agent buffers. One
// more start is refused. The agent keeps each for 1 ms after the connection has ended.
func keptMany(m *model, _ *rand.Rand) error {
	c, err := m.dialGreeted()
	if err != nil {
		return err
	}
	defer c.Close()
	for seq := range uint32(maxKept + 1) {
		if _, err := c.Write(wiretest.Raw(wiretest.Start, seq, abuser(1, "exec yes").startPayload([2]int{}))); err != nil {
			return err
		}
		if seq < maxKept {
			if _, err = c.want(wiretest.Started, seq); err != nil {
				return err
			}
			continue
		}
		payload, err := c.want(wiretest.Error, seq)
		if err != nil {
			return err
		}
		if err := wantError(fmt.Sprintf("too many kept processes (limit %d)", maxKept))(wiretest.Error, payload); err != nil {
			return err
		}
	}
	return m.rings(maxKept)
}

// rings waits until n processes have filled the agent's buffers and block.
func (m *model) rings(n int) error {
	return until(func() error {
		r, err := m.run(fmt.Sprintf("cat /proc/[0-9]*/stat 2>/dev/null | grep -c '(yes) S %s '; true", m.target.pid()))
		if got := strings.TrimSpace(string(r.stdout)); err == nil && got != fmt.Sprint(n) {
			err = fmt.Errorf("%s processes wait, want %d", got, n)
		}
		return err
	})
}

// channelsMany opens as many channels as a connection can have. One more is refused.
func channelsMany(m *model, _ *rand.Rand) error {
	c, err := m.dialGreeted()
	if err != nil {
		return err
	}
	defer c.Close()
	for seq := range uint32(maxChannels + 1) {
		if _, err := c.Write(wiretest.Make(wiretest.Read, seq, 0, 0, 0, 0, m.stillPath(1))); err != nil {
			return err
		}
	}
	payload, err := c.want(wiretest.Error, maxChannels)
	if err != nil {
		return err
	}
	if err := wantError(fmt.Sprintf("too many channels (limit %d)", maxChannels))(wiretest.Error, payload); err != nil {
		return err
	}
	// The first channel still works.
	if _, err := c.Write(wiretest.Make(wiretest.Credit, 0, 1, m.stillSize(1))); err != nil {
		return err
	}
	content, err := c.want(wiretest.Output, 0)
	if err == nil && (len(content) != 1+m.stillSize(1) || !yesText("", stillWord+"1", m.stillSize(1)).has(0, content[1:])) {
		err = fmt.Errorf("the file has %s", wiretest.Brief(content))
	}
	return err
}

// creditForMuch grants a flooding process the largest credit many times and reads nothing. Other
// connections must not be delayed.
func creditForMuch(m *model, _ *rand.Rand) error {
	c, err := m.dialGreeted()
	if err != nil {
		return err
	}
	defer c.Close()
	const much = 1<<32 - 1
	frames := wiretest.Raw(wiretest.Start, 1, abuser(0, "exec yes").startPayload([2]int{much, much}))
	for range 1000 {
		frames = append(frames, wiretest.Make(wiretest.Credit, 1, 1, much)...)
	}
	if _, err := c.Write(frames); err != nil {
		return err
	}
	if _, err := c.want(wiretest.Started, 1); err != nil {
		return err
	}
	for range 300 {
		if err := m.barrier(); err != nil {
			return err
		}
	}
	return nil
}

// tugOfWar has two connections attach to one process in turn. Each time the connection that loses
// the process is told so, and the output continues without a gap.
func tugOfWar(m *model, _ *rand.Rand) error {
	const step, turns = 1000, 500
	var conns [2]*raw
	for i := range conns {
		c, err := m.dialGreeted()
		if err != nil {
			return err
		}
		defer c.Close()
		conns[i] = c
	}
	p := abuser(60_000, "exec yes tug")
	content := yesText("", "tug", (turns+1)*step)
	if _, err := conns[0].Write(wiretest.Raw(wiretest.Start, 100, p.startPayload([2]int{step, 0}))); err != nil {
		return err
	}
	if _, err := conns[0].want(wiretest.Started, 100); err != nil {
		return err
	}
	at := 0
	for turn := range uint32(turns) {
		has, wants := conns[turn%2], conns[1-turn%2]
		for end := at + step; at < end; {
			b, err := has.want(wiretest.Output, 100+turn)
			if err != nil {
				return err
			}
			if !content.has(at, b[1:]) {
				return fmt.Errorf("turn %d: %s at %d", turn, wiretest.Brief(b), at)
			}
			at += len(b) - 1
		}
		if _, err := wants.Write(wiretest.Raw(wiretest.Attach, 101+turn,
			attachPayload(p.id, [2]int{at, 0}, [2]int{step, 0}))); err != nil {
			return err
		}
		if _, err := has.want(wiretest.Error, 100+turn); err != nil {
			return err
		}
		if _, err := wants.want(wiretest.Started, 101+turn); err != nil {
			return err
		}
	}
	// Any connection may end the process.
	if _, err := conns[1].Write(wiretest.Make(wiretest.Signal, 99, p.id, 0, 9, 2)); err != nil {
		return err
	}
	answers := []byte{}
	for len(answers) == 0 || answers[len(answers)-1] != wiretest.Done {
		typ, _, _, err := conns[1].frame()
		if err != nil {
			return err
		}
		answers = append(answers, typ)
	}
	last := conns[turns%2]
	if _, err := last.Write(slices.Concat(wiretest.Make(wiretest.Close, 100+turns, 1),
		wiretest.Make(wiretest.Close, 100+turns, 2))); err != nil {
		return err
	}
	for {
		typ, seq, _, err := last.frame()
		switch {
		case err != nil:
			return err
		case seq != 100+turns:
			return errors.New("a frame of another channel")
		case typ == wiretest.Exited:
			_, err := last.Write(wiretest.Raw(wiretest.Release, seq, nil))
			return err
		}
	}
}

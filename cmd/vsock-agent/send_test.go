package main_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

func (r *run) frame(text string) ([]byte, error) {
	tokens, err := scan(text)
	if err != nil {
		return nil, err
	}
	s := &scanner{tokens}
	name := s.next()
	fs, err := s.fields()
	if err != nil {
		return nil, err
	}
	return encodeFrame(name.text, fs)
}

// send runs a step NAME> …
func (r *run) send(name, text string) error {
	c, err := r.connection(name)
	if err != nil {
		return err
	}
	word, rest, more := strings.Cut(text, " ")
	if word == "close" && more {
		word = "" // a frame
	}
	switch word {
	case "half-close":
		return c.CloseWrite()
	case "close":
		delete(r.conns, name)
		// A process that is being forked for another case has a copy of the descriptor until it
		// executes its program. After a mere close, the agent would see the end only then. A
		// shutdown ends the copies too.
		c.CloseWrite()
		c.CloseRead()
		return c.Close()
	case "readable":
		c.SetReadDeadline(time.Now().Add(r.c.deadline))
		_, err := c.r.Peek(1)
		return err
	case "reset":
		// Closing a Unix socket with unread bytes gives the other side ECONNRESET. Unlike close,
		// this may take effect a moment later, because it allows no shutdown.
		c.SetReadDeadline(time.Now().Add(r.c.deadline))
		if _, err := c.r.Peek(1); err != nil {
			return fmt.Errorf("reset needs an unread frame: %w", err)
		}
		delete(r.conns, name)
		return c.Close()
	case "hold":
		c.holding = true
		return nil
	case "flush":
		c.holding = false
		b := c.held
		c.held = nil
		return r.write(c, b)
	case "consumed":
		return r.consumed(c)
	case "rest":
		return r.write(c, c.rest)
	case "bytes":
		b, err := hex.DecodeString(strings.ReplaceAll(rest, " ", ""))
		if err != nil {
			return err
		}
		return r.write(c, b)
	case "flood":
		return r.flood(c, rest)
	}
	slowly := false
	first := -1
	if word == "slowly" {
		slowly, text = true, rest
	} else if word == "first" {
		if _, err := fmt.Sscanf(rest, "%d of", &first); err != nil {
			return fmt.Errorf("first N of FRAME: %w", err)
		}
		_, text, _ = strings.Cut(rest, " of ")
	}
	var all []byte
	for _, line := range unroll(text) {
		b, err := r.frame(line)
		if err != nil {
			return err
		}
		all = append(all, b...)
	}
	switch {
	case slowly:
		for i := range all {
			if err := r.write(c, all[i:i+1]); err != nil {
				return err
			}
			if err := r.consumed(c); err != nil {
				return fmt.Errorf("at byte %d: %w", i, err)
			}
		}
		return nil
	case first >= 0:
		if first > len(all) {
			return fmt.Errorf("the frame has %d bytes only", len(all))
		}
		c.rest = all[first:]
		all = all[:first]
	}
	return r.write(c, all)
}

// flood writes a frame again and again until the agent stops reading. It takes half a second
// without progress for a stop. An agent that is merely slow is flooded for longer.
func (r *run) flood(c *connection, text string) error {
	frame, err := r.frame(text)
	if err != nil {
		return err
	}
	const enough = 256 << 20
	sent := 0
	for sent < enough {
		c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		n, err := c.Write(frame)
		sent += n
		if err == nil {
			c.flooded++
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if n > 0 {
			// Only a part of the frame is sent. The rest follows when the agent reads again.
			c.rest = frame[n:]
			c.flooded++
		}
		return nil
	}
	return fmt.Errorf("the agent has read %d bytes from a host that does not read", sent)
}

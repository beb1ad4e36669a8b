package client

import (
	"context"
	"fmt"
	"iter"
	"time"

	"wick/framing"
)

// Figures are named numbers, in the guest's order.
type Figures struct {
	names  []string
	values map[string]uint64
}

func figuresOf(f framing.Figures) *Figures {
	r := &Figures{values: make(map[string]uint64, f.Len())}
	for name, value := range f.All {
		if _, twice := r.values[string(name)]; !twice {
			r.names = append(r.names, string(name))
		}
		r.values[string(name)] = value
	}
	return r
}

// Lookup returns the figure with that name.
func (f *Figures) Lookup(name string) (value uint64, ok bool) {
	value, ok = f.values[name]
	return value, ok
}

// Get returns the figure with that name, or 0.
func (f *Figures) Get(name string) uint64 { return f.values[name] }

// All yields the figures in the guest's order.
func (f *Figures) All() iter.Seq2[string, uint64] {
	return func(yield func(string, uint64) bool) {
		for _, name := range f.names {
			if !yield(name, f.values[name]) {
				return
			}
		}
	}
}

// Stats are the figures of a machine. A figure that the guest cannot determine is 0.
type Stats struct{ *Figures }

// Stats returns the current figures.
//
// The error is an [*UnsupportedError], or wraps the context's, [ErrClosed], a [*ConnError], or a
// [*RemoteError].
func (c *Client) Stats(ctx context.Context) (*Stats, error) {
	call, err := c.request(ctx, framing.FeatureStats, framing.TypeFigures, framing.HeaderSize, func(dst []byte, seq uint32) []byte {
		return framing.AppendFrame(dst, framing.TypeStats, seq, nil)
	})
	if err != nil {
		return nil, fmt.Errorf("stats: %w", err)
	}
	defer call.release()
	if call.isDone {
		return nil, opError("stats", &call.reply.done)
	}
	f, err := framing.ParseFigures(call.payload)
	if err != nil {
		return nil, c.broken(err)
	}
	return &Stats{figuresOf(f)}, nil
}

// Memory returns the machine's memory and what programs can still use, in bytes.
func (s *Stats) Memory() (total, available uint64) {
	return s.Get("memory.total"), s.Get("memory.available")
}

// Disk returns the size and the free space of the file system of /, in bytes.
func (s *Stats) Disk() (total, free uint64) { return s.Get("disk.total"), s.Get("disk.free") }

// Load returns the mean number of tasks that ran or were ready, over 1, 5 and 15 minutes.
func (s *Stats) Load() (one, five, fifteen float64) {
	return float64(s.Get("load.1")) / 1000, float64(s.Get("load.5")) / 1000, float64(s.Get("load.15")) / 1000
}

// Uptime returns the time since the machine booted.
func (s *Stats) Uptime() time.Duration { return time.Duration(s.Get("uptime")) * time.Microsecond }

// Processes returns the number of processes in the guest.
func (s *Stats) Processes() int { return int(s.Get("processes")) }

// AgentMemory returns the agent's resident memory and the anonymous part of it, in bytes.
func (s *Stats) AgentMemory() (rss, anon uint64) { return s.Get("agent.rss"), s.Get("agent.anon") }

// Epoch returns how many restores of its machine the guest knows of.
func (s *Stats) Epoch() uint64 { return s.Get("epoch") }

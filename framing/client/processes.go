package client

import (
	"context"
	"fmt"
	"time"

	"wick/framing"
)

// Process is a process that the agent has started, for any host.
type Process struct {
	// ID is the ID of a Cmd, and 0 for what [Client.Exec] or [Client.Spawn] started.
	ID  uint64
	PID uint32
	// Kind is the message that started it.
	Kind framing.ProcessKind
	// Attached says that a connection has it, Terminal that it has a terminal. Exited says that it
	// has ended and its output and receipt are kept for an attach.
	Attached, Terminal, Exited bool
	// Age is the time since its start. CPU is processor time, Memory the bytes in use now and
	// Processes a number, of the process and its descendants. 0 means unknown.
	Age, CPU  time.Duration
	Memory    uint64
	Processes int
	// Command is the beginning of its command line, at most 96 bytes.
	Command string
}

// Processes lists the processes that the agent has started and that run or are kept.
//
// The error is an [*UnsupportedError], or wraps the context's, [ErrClosed], a [*ConnError], or a
// [*RemoteError].
func (c *Client) Processes(ctx context.Context) ([]Process, error) {
	call, err := c.request(ctx, framing.FeatureProcesses, framing.TypeProcessList, framing.HeaderSize, func(dst []byte, seq uint32) []byte {
		return framing.AppendFrame(dst, framing.TypeProcesses, seq, nil)
	})
	if err != nil {
		return nil, fmt.Errorf("processes: %w", err)
	}
	defer call.release()
	if call.isDone {
		return nil, opError("processes", &call.reply.done)
	}
	wire, err := framing.ParseProcessList(call.payload)
	if err != nil {
		return nil, c.broken(err)
	}
	list := make([]Process, len(wire))
	for i := range wire {
		w := &wire[i]
		list[i] = Process{
			ID: w.ID, PID: w.PID, Kind: w.Kind, Attached: w.Attached, Terminal: w.Terminal, Exited: w.Exited,
			Age: time.Duration(w.AgeUS) * time.Microsecond, CPU: time.Duration(w.CPUUS) * time.Microsecond,
			Memory: w.Memory, Processes: int(w.Processes), Command: string(w.Command),
		}
	}
	return list, nil
}

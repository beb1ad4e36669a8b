package client

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"net/netip"
	"slices"

	"wick/framing"
)

// A Port is a TCP socket that listens in the guest.
type Port struct {
	// Addr is the address and port, such as 127.0.0.1:80 or [::]:22.
	Addr netip.AddrPort
	// PID and Program are of a process that has the socket open. They are 0 and empty if the guest
	// found no such process.
	PID     uint32
	Program string
}

// Ports lists the TCP sockets that listen in the guest, sorted by port.
//
// The error is an [*UnsupportedError] or [*OpError], or wraps the context's error, [ErrClosed], a
// [*ConnError] or a [*RemoteError].
func (c *Client) Ports(ctx context.Context) ([]Port, error) {
	call, err := c.request(ctx, framing.FeaturePorts, framing.TypePortList, framing.HeaderSize+1, func(dst []byte, seq uint32) []byte {
		return framing.AppendPorts(dst, seq, false)
	})
	if err != nil {
		return nil, fmt.Errorf("ports: %w", err)
	}
	defer call.release()
	if call.isDone {
		return nil, opError("ports", &call.reply.done)
	}
	list, err := parsePorts(call.payload)
	if err != nil {
		return nil, c.broken(err)
	}
	return list, nil
}

func parsePorts(payload []byte) ([]Port, error) {
	wire, err := framing.ParsePortList(payload)
	if err != nil {
		return nil, err
	}
	list := make([]Port, 0, len(wire))
	for i := range wire {
		w := &wire[i]
		ip, err := netip.ParseAddr(string(w.Address))
		if err != nil || w.Network != framing.NetworkTCP {
			continue // a kind of socket that this version does not know
		}
		list = append(list, Port{netip.AddrPortFrom(ip, w.Port), w.PID, string(w.Program)})
	}
	slices.SortFunc(list, func(a, b Port) int {
		return cmp.Or(cmp.Compare(a.Addr.Port(), b.Addr.Port()), a.Addr.Compare(b.Addr))
	})
	// Sockets may share an address and port.
	return slices.CompactFunc(list, func(a, b Port) bool { return a.Addr == b.Addr }), nil
}

// WatchPorts yields the list of [Client.Ports] at once, and again after each change. The guest
// looks once a second, and soon after a command has started or exited. A slow loop sees only the
// newest list.
//
// The last value is an error: the context's, or one as for Ports.
func (c *Client) WatchPorts(ctx context.Context) iter.Seq2[[]Port, error] {
	w := listWatch[Port]{op: "watch ports", reply: framing.TypePortList, parse: parsePorts}
	return w.begin(ctx, c, framing.FeaturePorts, func(dst []byte, seq uint32) []byte {
		return framing.AppendPorts(dst, seq, true)
	})
}

package session

import (
	"wick/framing"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/wire"
)

// processList is a process_list, made while it is sent. The request decides which processes it
// lists, because their number comes first.
type processList struct {
	conn *wire.Conn
	seq  uint32
	list []*launch.Process
	at   int // how many are sent
	head bool
}

const (
	// recordRoom is enough for any record, in bytes.
	recordRoom = 8 + 4 + 1 + 1 + 8 + 8 + 8 + 4 + 2 + framing.MaxCommand
	// recordBatch is how many records are made in one go. Each takes a few reads of files in /sys.
	recordBatch = 8
)

// processes handles a processes request. It lists the running processes, and the exited ones that a
// host can still attach to.
func (svc *Service) processes(c *wire.Conn, p *framing.Part) error {
	l := &processList{conn: c, seq: p.Seq}
	l.list = append(l.list, svc.Table.Running()...)
	for _, p := range svc.sessions {
		if p.process.HasExited() {
			l.list = append(l.list, &p.process)
		}
	}
	c.Send(l)
	return nil
}

// Fill implements [reactor.Source].
func (l *processList) Fill(b []byte) (n int, last bool) {
	frame := b[:0]
	if !l.head {
		l.head = true
		size := 4
		for _, p := range l.list {
			size += recordRoom - framing.MaxCommand + p.NameLen()
		}
		frame = framing.AppendHeader(frame, framing.TypeProcessList, l.seq, size)
		frame = framing.AppendCount(frame, len(l.list))
	}
	for range min(recordBatch, len(l.list)-l.at) {
		p := l.list[l.at]
		l.at++
		r := p.Owner.Record()
		p.AddUsage(&r)
		frame = framing.AppendProcess(frame, &r)
	}
	return len(frame), l.at == len(l.list)
}

// Sent implements [reactor.Source].
func (l *processList) Sent(bool) { l.conn.Sent() }

package agent

import (
	"wick/framing"
	"wick/reactor"
)

// processList is a process_list, made while it is sent: which processes are in it is settled when it is asked for, since the
// length comes first.
type processList struct {
	conn *conn
	seq  uint32
	list []*process
	at   int // how many of them are sent
	head bool
}

// recordRoom is enough for every record, and recordBatch how many are made at a time: each takes some reading in /sys.
const (
	recordRoom  = 8 + 4 + 1 + 1 + 8 + 8 + 8 + 4 + 2 + framing.MaxCommand
	recordBatch = 8
)

func newProcessList(c *conn, seq uint32) *processList {
	l := &processList{conn: c, seq: seq}
	l.list = append(l.list, c.agent.running...)
	for _, s := range c.agent.sessions {
		if s.exited {
			l.list = append(l.list, &s.process)
		}
	}
	return l
}

// Fill implements [reactor.Source].
func (l *processList) Fill(b []byte) (n int, last bool) {
	frame := b[:0]
	if !l.head {
		l.head = true
		size := 4
		for _, p := range l.list {
			size += recordRoom - framing.MaxCommand + int(p.named)
		}
		frame = framing.AppendCount(framing.AppendHeader(frame, framing.TypeProcessList, l.seq, size), len(l.list))
	}
	for range min(recordBatch, len(l.list)-l.at) {
		p := l.list[l.at]
		l.at++
		r := p.owner.record()
		p.measure(&r)
		frame = framing.AppendProcess(frame, &r)
	}
	return len(frame), l.at == len(l.list)
}

// Sent implements [reactor.Source].
func (l *processList) Sent(bool) { l.conn.sent() }

// record is what every process has in common.
func (p *process) record() framing.Process {
	age := uint64((reactor.Now() - p.began).Microseconds())
	return framing.Process{PID: uint32(p.pid), Kind: p.kind, Exited: p.exited, AgeUS: age, Command: p.name[:p.named]}
}

// record implements [processOwner].
func (s *session) record() framing.Process {
	r := s.process.record()
	r.ID, r.Attached, r.Terminal = s.id, s.conn != nil, s.terminal
	return r
}

// measure adds what all that it became uses, where that is known.
func (p *process) measure(r *framing.Process) {
	g := p.cgroup
	if g == nil {
		return
	}
	r.CPUUS, r.Memory, _ = g.Using()
	r.Processes = g.Count()
}

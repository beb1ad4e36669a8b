package framing

import (
	"bytes"
	"fmt"
	"strings"
)

// naiveText is the naive reading of the extension's messages: a reader that renders what it reads.
type naiveText struct {
	naiveReader
	s string
}

func (r *naiveText) line(name string, values ...any) {
	r.s += name + " ="
	for _, v := range values {
		if b, ok := v.([]byte); ok {
			v = fmt.Sprintf("%q", b)
		}
		r.s += fmt.Sprint(" ", v)
	}
	r.s += "\n"
}

// need refuses the message if what has to be is not so.
func (r *naiveText) need(good bool) { r.ok = r.ok && good }

// num reads an unsigned number, and signed the other kind.
func (r *naiveText) num(name string, size int) uint64 {
	n := r.number(size)
	r.line(name, n)
	return n
}

func (r *naiveText) signed(name string, size int) {
	shift := 64 - 8*size
	r.line(name, int64(r.number(size)<<shift)>>shift)
}

// text reads a text with a count of the given size, and path one that must have no NUL.
func (r *naiveText) text(name string, size int) { r.line(name, r.bytes(r.number(size))) }
func (r *naiveText) path(name string, size int) { r.line(name, r.clean(size)) }

func (r *naiveText) clean(size int) []byte {
	b := r.bytes(r.number(size))
	r.need(!bytes.Contains(b, []byte{0}))
	return b
}

// bits reads a byte of flags, a line each.
func (r *naiveText) bits(names ...string) {
	flags := r.number(1)
	r.need(flags < 1<<len(names))
	for i, name := range names {
		r.line(name, flags>>i&1 == 1)
	}
}

// flags reads flags of which the given bits are known.
func (r *naiveText) flags(size int, known ...int) {
	unknown := r.num("flags", size)
	for _, bit := range known {
		unknown &^= 1 << bit
	}
	r.need(unknown == 0)
}

// times does what reads an entry, for as many as a number of the given size says.
func (r *naiveText) times(size int, entry func()) (n uint64) {
	n = r.number(size)
	for i := uint64(0); i < n && r.ok; i++ {
		entry()
	}
	return n
}

// naiveExtension describes a message of the extension, or returns "" if it refuses it.
func naiveExtension(t Type, payload []byte) string {
	r := &naiveText{naiveReader: naiveReader{b: payload, ok: true}}
	switch t {
	case TypeHello:
		r.num("version", 2)
	case TypeHelloResult:
		r.num("version", 2)
		r.num("features", 4)
		r.num("epoch", 8)
		r.times(2, func() { r.line("facts", r.bytes(r.number(1)), r.bytes(r.number(2))) })
	case TypeStart:
		naiveStart(r)
	case TypeStarted:
		r.num("pid", 4)
		r.num("taken", 8)
		r.num("credit", 4)
	case TypeAttach:
		r.need(r.num("id", 8) != 0)
		r.num("output", 8)
		r.num("errors", 8)
		r.num("output_credit", 4)
		r.num("errors_credit", 4)
	case TypeOutput:
		stream := r.num("stream", 1)
		r.need(stream == 1 || stream == 2)
		r.line("data", r.bytes(uint64(len(r.b))))
	case TypeClose:
		r.need(r.num("stream", 1) <= 2)
	case TypeCredit:
		r.need(r.num("stream", 1) <= 2)
		r.num("bytes", 4)
	case TypeResize:
		r.num("rows", 2)
		r.num("columns", 2)
	case TypeSignal:
		r.num("id", 8)
		r.num("pid", 4)
		r.num("signal", 1)
		r.num("scope", 1)
	case TypeExited:
		naiveExited(r)
	case TypeProcessList:
		r.line("count", naiveCount(payload, 4))
		r.times(4, func() {
			id, pid, kind, flags := r.number(8), r.number(4), r.number(1), r.number(1)
			r.need(flags < 8)
			age, cpu, memory, count := r.number(8), r.number(8), r.number(8), r.number(4)
			r.line("processes", id, pid, kind, flags&1 != 0, flags&2 != 0, flags&4 != 0, age, cpu, memory, count, r.bytes(r.number(2)))
		})
	case TypeDone:
		r.num("errno", 4)
		r.num("value", 8)
		r.text("reason", 2)
	case TypeRead:
		r.flags(1, 0, 4)
		r.num("offset", 8)
		r.num("length", 8)
		r.num("credit", 4)
		r.path("path", 2)
	case TypeWrite:
		r.flags(2, 0, 1, 2, 3, 4, 5, 6, 7, 8)
		r.num("mode", 4)
		r.num("uid", 4)
		r.num("gid", 4)
		r.num("offset", 8)
		r.path("path", 2)
	case TypeStat:
		r.flags(1, 0, 1)
		r.path("path", 2)
	case TypeStatResult:
		naiveFileInfo(r)
	case TypeList:
		r.flags(1, 0, 5, 6)
		r.num("credit", 4)
		r.path("path", 2)
	case TypeChange:
		op := r.num("op", 1)
		r.flags(1, 0, 1, 2, 3)
		r.num("mode", 4)
		r.num("uid", 4)
		r.num("gid", 4)
		r.signed("mod_time", 8)
		r.path("path", 2)
		if op == 10 {
			r.text("other", 2)
		} else {
			r.path("other", 2)
		}
	case TypeSkip:
		r.num("bytes", 8)
	case TypeFigures:
		r.line("count", naiveCount(payload, 2))
		r.times(2, func() { r.line("figures", r.bytes(r.number(1)), r.number(8)) })
	case TypePressure:
		r.num("resource", 1)
		r.num("stall_us", 4)
		r.num("window_us", 4)
	case TypeRestore:
		r.num("unix_ns", 8)
		r.text("entropy", 2)
	case TypeFreeze:
		r.num("thaw_after_ms", 4)
	case TypePower:
		r.num("how", 1)
		r.num("grace_ms", 4)
	}
	if !r.done() {
		return ""
	}
	return r.s
}

// naiveCount is the count that a payload begins with.
func naiveCount(payload []byte, size int) uint64 {
	r := naiveReader{b: payload, ok: true}
	return r.number(size)
}

func naiveStart(r *naiveText) {
	r.need(r.num("id", 8) != 0)
	shell := r.ok && len(r.b) > 0 && r.b[0]&1 == 1
	more := r.ok && len(r.b) > 0 && r.b[0]&32 != 0
	r.bits("shell", "stdin", "terminal", "merge", "only", "more")
	r.s = strings.Replace(r.s, fmt.Sprintf("more = %v\n", more), "", 1) // which the type has at its end
	r.num("timeout_ms", 4)
	r.num("keep_ms", 4)
	r.num("output_credit", 4)
	r.num("errors_credit", 4)
	r.num("cap", 8)
	r.num("rows", 2)
	r.num("columns", 2)
	r.path("user", 2)
	r.path("dir", 2)
	words := r.times(4, func() { r.path("args", 4) })
	r.need(words == 1 || words > 1 && !shell)
	r.times(4, func() {
		key, value := r.clean(4), r.clean(4)
		r.need(len(key) > 0 && !bytes.Contains(key, []byte{'='}))
		r.line("env", key, value)
	})
	r.times(1, func() { r.line("limits", r.number(1), r.number(8), r.number(8)) })
	r.line("more", more)
	if more {
		r.num("wait_ms", 4)
		r.line("modes", r.number(4), r.number(4), r.number(4), r.bytes(r.number(1)))
	} else {
		r.line("wait_ms", 0)
		r.line("modes", 0, 0, 0, []byte{})
	}
}

func naiveExited(r *naiveText) {
	r.num("reason", 1)
	r.num("signal", 1)
	r.num("stage", 1)
	r.bits("core", "tree", "held")
	r.signed("code", 4)
	r.num("errno", 4)
	r.num("user_us", 8)
	r.num("system_us", 8)
	r.num("elapsed_us", 8)
	r.num("peak", 8)
	r.num("output", 8)
	r.num("errors", 8)
	r.num("output_dropped", 8)
	r.num("errors_dropped", 8)
	r.num("left", 4)
	r.num("killed", 4)
	r.text("message", 2)
}

// naiveFileInfo reads the payload of stat_result, which is also an entry of a list, and returns the name.
func naiveFileInfo(r *naiveText) (name []byte) {
	r.num("mode", 4)
	r.num("uid", 4)
	r.num("gid", 4)
	r.num("links", 4)
	r.num("size", 8)
	r.signed("mod_time", 8)
	r.num("inode", 8)
	r.num("device", 8)
	name = r.clean(2)
	r.line("name", name)
	r.path("target", 2)
	return name
}

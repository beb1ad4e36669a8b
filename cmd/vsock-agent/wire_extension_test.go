package main_test

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// The extension's half of wire_test.go, from framing/extension.md.

func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// wide is a number of 64 bits.
func (fs fieldSet) wide(name string, or uint64) uint64 {
	b, ok := fs.get(name)
	if !ok {
		return or
	}
	n, err := strconv.ParseUint(string(b), 0, 64)
	if err != nil {
		panic(fmt.Sprintf("%s=%s is no number", name, b))
	}
	return n
}

// startFlags are the bits of a start, each set by its bare name.
var startFlags = []string{"shell", "stdin", "terminal", "merge", "only"}

// encodeExtended makes the payload of a message of the extension.
func encodeExtended(name string, fs fieldSet, known map[string]bool) (payload []byte, err error) {
	fields := func(names ...string) {
		for _, n := range names {
			known[n] = true
		}
	}
	add := func(parts ...[]byte) {
		for _, p := range parts {
			payload = append(payload, p...)
		}
	}
	text := func(n string) []byte { return append(u16(len(fs.bytes(n))), fs.bytes(n)...) }
	switch name {
	case "hello":
		fields("version")
		add(u16(fs.number("version", 1)))
	case "start":
		fields("id", "flags", "timeout", "keep", "credit", "errcredit", "cap", "rows", "columns", "user", "dir", "argc", "arg", "cmd",
			"envc", "key", "value", "limit")
		fields(startFlags...)
		flags := 0
		for i, f := range startFlags {
			if _, ok := fs.get(f); ok {
				flags |= 1 << i
			}
		}
		var args, env, limits []byte
		argc, envc, count := 0, 0, 0
		for _, f := range fs {
			word := append(u32(len(f.value)), f.value...)
			switch f.name {
			case "cmd":
				flags |= 1
				fallthrough
			case "arg":
				args = append(args, word...)
				argc++
			case "key":
				envc++
				fallthrough
			case "value":
				env = append(env, word...)
			case "limit":
				n := strings.Split(string(f.value), ":")
				if len(n) != 3 {
					return nil, fmt.Errorf("limit=%q is not resource:soft:hard", f.value)
				}
				number := func(text string) uint64 {
					v, err := strconv.ParseUint(text, 0, 64)
					if text == "infinity" {
						return 1<<64 - 1
					} else if err != nil {
						panic(err.Error())
					}
					return v
				}
				limits = append(append(append(limits, byte(number(n[0]))), u64(number(n[1]))...), u64(number(n[2]))...)
				count++
			}
		}
		add(u64(fs.wide("id", 1)), []byte{byte(fs.number("flags", flags))}, u32(fs.number("timeout", 0)), u32(fs.number("keep", 0)))
		add(u32(fs.number("credit", 1<<20)), u32(fs.number("errcredit", 1<<20)), u64(fs.wide("cap", 0)))
		add(u16(fs.number("rows", 24)), u16(fs.number("columns", 80)), text("user"), text("dir"))
		add(u32(fs.number("argc", argc)), args, u32(fs.number("envc", envc)), env, []byte{byte(count)}, limits)
	case "attach":
		fields("id", "out", "err", "credit", "errcredit")
		add(u64(fs.wide("id", 1)), u64(fs.wide("out", 0)), u64(fs.wide("err", 0)))
		add(u32(fs.number("credit", 1<<20)), u32(fs.number("errcredit", 1<<20)))
	case "input":
		fields("data")
		add(fs.bytes("data"))
	case "close":
		fields("stream")
		add([]byte{byte(fs.number("stream", 0))})
	case "credit":
		fields("stream", "n")
		add([]byte{byte(fs.number("stream", 1))}, u32(fs.number("n", 0)))
	case "resize":
		fields("rows", "columns")
		add(u16(fs.number("rows", 24)), u16(fs.number("columns", 80)))
	case "signal":
		fields("id", "pid", "signal", "scope")
		add(u64(fs.wide("id", 0)), u32(fs.number("pid", 0)), []byte{byte(fs.number("signal", 15)), byte(fs.number("scope", 0))})
	}
	return payload, nil
}

// decodeExtended takes the payload of a message of the extension apart.
func decodeExtended(r *received, number func(size int) uint64, take func(n int) []byte, left func() int) {
	field := func(name string, size int) uint64 {
		n := number(size)
		r.put(name, strconv.AppendUint(nil, n, 10))
		return n
	}
	switch r.name {
	case "hello_result":
		field("version", 2)
		field("features", 4)
		field("epoch", 8)
		var facts []string
		for range field("count", 2) {
			name := take(int(number(1)))
			facts = append(facts, string(name)+"="+string(take(int(number(2)))))
		}
		r.put("facts", []byte(strings.Join(facts, "\n")))
	case "started":
		field("pid", 4)
		field("taken", 8)
		field("credit", 4)
	case "output":
		field("stream", 1)
		r.put("data", take(left()))
	case "close":
		field("stream", 1)
	case "credit":
		field("stream", 1)
		field("n", 4)
	case "done":
		field("errno", 4)
		field("value", 8)
		r.put("reason", take(int(number(2))))
	case "exited":
		for _, name := range []string{"reason", "signal", "stage", "flags"} {
			field(name, 1)
		}
		r.put("code", strconv.AppendInt(nil, int64(int32(number(4))), 10))
		field("errno", 4)
		for _, name := range []string{"user", "system", "elapsed", "peak", "out", "err", "outdropped", "errdropped"} {
			field(name, 8)
		}
		field("left", 4)
		field("killed", 4)
		r.put("message", take(int(number(2))))
	case "process_list":
		var list []string
		for range field("count", 4) {
			id, pid, kind, flags := number(8), number(4), number(1), number(1)
			age, cpu, memory, processes := number(8), number(8), number(8), number(4)
			list = append(list, fmt.Sprintf("id=%d pid=%d kind=%d flags=%d age=%d cpu=%d memory=%d processes=%d command=%s",
				id, pid, kind, flags, age, cpu, memory, processes, take(int(number(2)))))
		}
		r.put("list", []byte(strings.Join(list, "\n")))
	}
}

package main_test

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

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
var startFlags = []string{"shell", "stdin", "terminal", "merge", "only", "more"}

// processMessages are those about processes.
var processMessages = map[string]extensionMessage{
	"start": {number: 0x22, encode: encodeStart, fields: "id flags timeout keep credit errcredit cap rows columns user dir argc arg cmd " +
		"envc key value limit shell stdin terminal merge only more wait iflag oflag lflag cc"},
	"started": {number: 0x23, decode: func(r *received, p *payloadReader) {
		r.put("pid", p.decimal(4))
		r.put("taken", p.decimal(8))
		r.put("credit", p.decimal(4))
	}},
	"attach": {number: 0x24, fields: "id out err credit errcredit", encode: func(fs fieldSet) []byte {
		b := append(append(u64(fs.wide("id", 1)), u64(fs.wide("out", 0))...), u64(fs.wide("err", 0))...)
		return append(append(b, u32(fs.number("credit", 1<<20))...), u32(fs.number("errcredit", 1<<20))...)
	}},
	"signal": {number: 0x2a, fields: "id pid signal scope", encode: func(fs fieldSet) []byte {
		b := append(u64(fs.wide("id", 0)), u32(fs.number("pid", 0))...)
		return append(b, byte(fs.number("signal", 15)), byte(fs.number("scope", 0)))
	}},
	"exited": {number: 0x2b, decode: func(r *received, p *payloadReader) {
		for _, name := range []string{"reason", "signal", "stage", "flags"} {
			r.put(name, p.decimal(1))
		}
		r.put("code", strconv.AppendInt(nil, int64(int32(p.number(4))), 10))
		r.put("errno", p.decimal(4))
		for _, name := range []string{"user", "system", "elapsed", "peak", "out", "err", "outdropped", "errdropped"} {
			r.put(name, p.decimal(8))
		}
		r.put("left", p.decimal(4))
		r.put("killed", p.decimal(4))
		r.put("message", p.take(int(p.number(2))))
	}},
	"release":   {number: 0x2c},
	"processes": {number: 0x2d},
	"process_list": {number: 0x2e, decode: func(r *received, p *payloadReader) {
		var list []string
		count := p.number(4)
		r.put("count", strconv.AppendUint(nil, count, 10))
		for range count {
			id, pid, kind, flags := p.number(8), p.number(4), p.number(1), p.number(1)
			age, cpu, memory, processes := p.number(8), p.number(8), p.number(8), p.number(4)
			list = append(list, fmt.Sprintf("id=%d pid=%d kind=%d flags=%d age=%d cpu=%d memory=%d processes=%d command=%s",
				id, pid, kind, flags, age, cpu, memory, processes, p.take(int(p.number(2)))))
		}
		r.put("list", []byte(strings.Join(list, "\n")))
	}},
}

// parseLimit makes a limit of resource:soft:hard.
func parseLimit(text string) (limit []byte) {
	words := strings.Split(text, ":")
	if len(words) != 3 {
		panic(fmt.Sprintf("limit=%q is not resource:soft:hard", text))
	}
	for i, word := range words {
		n, err := uint64(1<<64-1), error(nil)
		if word != "infinity" {
			if n, err = strconv.ParseUint(word, 0, 64); err != nil {
				panic(err.Error())
			}
		}
		if i == 0 {
			limit = append(limit, byte(n))
		} else {
			limit = append(limit, u64(n)...)
		}
	}
	return limit
}

func encodeStart(fs fieldSet) (payload []byte) {
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
			limits = append(limits, parseLimit(string(f.value))...)
			count++
		}
	}
	text := func(n string) []byte { return append(u16(len(fs.bytes(n))), fs.bytes(n)...) }
	for _, part := range [][]byte{
		u64(fs.wide("id", 1)), {byte(fs.number("flags", flags))}, u32(fs.number("timeout", 0)), u32(fs.number("keep", 0)),
		u32(fs.number("credit", 1<<20)), u32(fs.number("errcredit", 1<<20)), u64(fs.wide("cap", 0)),
		u16(fs.number("rows", 24)), u16(fs.number("columns", 80)), text("user"), text("dir"),
		u32(fs.number("argc", argc)), args, u32(fs.number("envc", envc)), env, {byte(count)}, limits,
	} {
		payload = append(payload, part...)
	}
	if flags&32 != 0 {
		cc := fs.bytes("cc")
		for _, part := range [][]byte{
			u32(fs.number("wait", 100)), u32(fs.number("iflag", 0)), u32(fs.number("oflag", 0)), u32(fs.number("lflag", 0)), {byte(len(cc))}, cc,
		} {
			payload = append(payload, part...)
		}
	}
	return payload
}

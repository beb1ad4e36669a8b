package main_test

import (
	"encoding/binary"
	"strconv"
)

// machineMessages are those about the machine as a whole.
var machineMessages = map[string]extensionMessage{
	"stats": {number: 0x38},
	"figures": {number: 0x39, decode: func(r *received, p *payloadReader) {
		n := int(p.number(2))
		r.put("figures", strconv.AppendInt(nil, int64(n), 10))
		for range n {
			name := string(p.take(int(p.number(1))))
			r.put(name, p.decimal(8))
		}
	}},
	"pressure": {number: 0x3a, fields: "resource stall window", encode: func(fs fieldSet) []byte {
		b := append([]byte{byte(fs.number("resource", 0))}, u32(fs.number("stall", 1_000_000))...)
		return append(b, u32(fs.number("window", 2_000_000))...)
	}},
	"restore": {number: 0x3b, fields: "time entropy n", encode: func(fs fieldSet) []byte {
		b := binary.BigEndian.AppendUint64(nil, uint64(fs.number("time", 0)))
		entropy := fs.bytes("entropy")
		return append(append(b, u16(fs.number("n", len(entropy)))...), entropy...)
	}},
	"freeze": {number: 0x3c, fields: "after", encode: func(fs fieldSet) []byte { return u32(fs.number("after", 0)) }},
	"thaw":   {number: 0x3d},
	"power": {number: 0x3e, fields: "how grace", encode: func(fs fieldSet) []byte {
		return append([]byte{byte(fs.number("how", 0))}, u32(fs.number("grace", 0))...)
	}},
}

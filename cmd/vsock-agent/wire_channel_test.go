package main_test

import "strconv"

// channelMessages are what all of the extension needs: asking for it, streams, and how an operation ended.
var channelMessages = map[string]extensionMessage{
	"hello": {number: 0x20, fields: "version", encode: func(fs fieldSet) []byte { return u16(fs.number("version", 1)) }},
	"hello_result": {number: 0x21, decode: func(r *received, p *payloadReader) {
		r.put("version", p.decimal(2))
		r.put("features", p.decimal(4))
		r.put("epoch", p.decimal(8))
		n := int(p.number(2))
		r.put("facts", strconv.AppendInt(nil, int64(n), 10))
		for range n {
			name := string(p.take(int(p.number(1))))
			r.put(name, p.take(int(p.number(2))))
		}
	}},
	"input": {number: 0x25, fields: "data", encode: func(fs fieldSet) []byte { return fs.bytes("data") }},
	"output": {number: 0x26, decode: func(r *received, p *payloadReader) {
		r.put("stream", p.decimal(1))
		r.put("data", p.take(len(p.rest)))
	}},
	"close": {number: 0x27, fields: "stream", encode: func(fs fieldSet) []byte { return []byte{byte(fs.number("stream", 0))} },
		decode: func(r *received, p *payloadReader) { r.put("stream", p.decimal(1)) }},
	"credit": {number: 0x28, fields: "stream bytes", encode: func(fs fieldSet) []byte {
		return append([]byte{byte(fs.number("stream", 1))}, u32(fs.number("bytes", 0))...)
	}, decode: func(r *received, p *payloadReader) {
		r.put("stream", p.decimal(1))
		r.put("bytes", p.decimal(4))
	}},
	"resize": {number: 0x29, fields: "rows columns", encode: func(fs fieldSet) []byte {
		return append(u16(fs.number("rows", 24)), u16(fs.number("columns", 80))...)
	}},
	"done": {number: 0x2f, decode: func(r *received, p *payloadReader) {
		r.put("errno", p.decimal(4))
		r.put("value", p.decimal(8))
		r.put("reason", p.take(int(p.number(2))))
	}},
}

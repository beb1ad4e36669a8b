package main_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// plenty is the credit of a request that does not say.
const plenty = 1 << 30

var fileMessages = map[string]extensionMessage{
	"read": {number: 0x30, fields: "flags offset bytes credit path pathlen", encode: func(fs fieldSet) []byte {
		b := []byte{byte(fs.number("flags", 0))}
		b = append(append(b, fs.u64("offset")...), fs.u64("bytes")...)
		return fs.path(append(b, u32(fs.number("credit", plenty))...), "path")
	}},
	"write": {number: 0x31, fields: "flags mode uid gid offset path pathlen", encode: func(fs fieldSet) []byte {
		b := append(u16(fs.number("flags", 0)), u32(fs.number("mode", 0))...)
		b = append(append(b, u32(fs.number("uid", 0))...), u32(fs.number("gid", 0))...)
		return fs.path(append(b, fs.u64("offset")...), "path")
	}},
	"stat": {number: 0x32, fields: "flags path pathlen", encode: func(fs fieldSet) []byte {
		return fs.path([]byte{byte(fs.number("flags", 0))}, "path")
	}},
	"stat_result": {number: 0x33, decode: func(r *received, p *payloadReader) { p.info(r.put) }},
	"list": {number: 0x34, fields: "flags credit path pathlen", encode: func(fs fieldSet) []byte {
		return fs.path(append([]byte{byte(fs.number("flags", 0))}, u32(fs.number("credit", plenty))...), "path")
	}},
	"change": {number: 0x35, fields: "op flags mode uid gid mtime path pathlen other otherlen", encode: func(fs fieldSet) []byte {
		b := []byte{byte(changeOps[string(fs.bytes("op"))]), byte(fs.number("flags", 0))}
		if b[0] == 0 {
			b[0] = byte(fs.number("op", 0))
		}
		b = append(append(b, u32(fs.number("mode", 0))...), u32(fs.number("uid", 0))...)
		b = append(append(b, u32(fs.number("gid", 0))...), fs.u64("mtime")...)
		return fs.path(fs.path(b, "path"), "other")
	}},
	"skip": {number: 0x36, fields: "bytes", encode: func(fs fieldSet) []byte { return fs.u64("bytes") }},
}

var changeOps = map[string]int{"mkdir": 1, "remove": 2, "rename": 3, "symlink": 4, "link": 5, "chmod": 6, "chown": 7, "utime": 8, "mknod": 9, "setxattr": 10}

// u64 is a number of 64 bits, with or without a sign.
func (fs fieldSet) u64(name string) []byte {
	text := string(fs.bytes(name))
	n, err := strconv.ParseUint(text, 0, 64)
	if signed, no := strconv.ParseInt(text, 0, 64); no == nil {
		n, err = uint64(signed), nil
	}
	if err != nil && text != "" {
		panic(fmt.Sprintf("%s=%s is no number", name, text))
	}
	return binary.BigEndian.AppendUint64(nil, n)
}

// path appends a path with its count, which pathlen= may make a lie.
func (fs fieldSet) path(b []byte, name string) []byte {
	path := fs.bytes(name)
	return append(append(b, u16(fs.number(name+"len", len(path)))...), path...)
}

// info takes an entry of a list, or a stat_result.
func (p *payloadReader) info(put func(string, []byte)) {
	put("mode", fmt.Appendf(nil, "%07o", p.number(4)))
	for _, name := range []string{"uid", "gid", "nlink"} {
		put(name, p.decimal(4))
	}
	put("bytes", p.decimal(8))
	put("mtime", strconv.AppendInt(nil, int64(p.number(8)), 10))
	put("inode", p.decimal(8))
	put("rdev", p.decimal(8))
	put("name", p.take(int(p.number(2))))
	put("target", p.take(int(p.number(2))))
}

// all is what an operation sends and how it ended, in one: the outputs of a seq up to its done. Beside the fields of done it has data, the
// number of frames, the size of the largest content, and if every output is whole entries their names, and lines of them, sorted.
func (r *run) all(c *connection) (*received, error) {
	whole := &received{name: "all", fields: map[string][]byte{}}
	var data []byte
	var names, entries []string
	frames, largest, seq, isList := 0, 0, "", true
	for {
		got, err := r.receive(c)
		if err != nil {
			return nil, err
		}
		if frames++; frames == 1 {
			seq = string(got.fields["seq"])
		}
		if string(got.fields["seq"]) != seq || got.name != "output" && got.name != "done" {
			return nil, fmt.Errorf("got %s between the frames of seq %s", got, seq)
		}
		if got.name == "done" {
			for _, name := range got.order {
				whole.put(name, got.fields[name])
			}
			break
		}
		content := got.fields["data"]
		data = append(data, content...)
		largest = max(largest, len(content))
		for p := (payloadReader{rest: content}); isList && len(p.rest) > 0; {
			i := map[string][]byte{}
			p.info(func(name string, value []byte) { i[name] = value })
			if p.short {
				isList, names, entries = false, nil, nil
				break
			}
			names = append(names, string(i["name"]))
			line := fmt.Sprintf("%s %s %s:%s %s %s", i["name"], i["mode"], i["uid"], i["gid"], i["nlink"], i["bytes"])
			if len(i["target"]) > 0 {
				line += " -> " + string(i["target"])
			}
			entries = append(entries, line)
		}
	}
	slices.Sort(names)
	slices.Sort(entries)
	whole.put("frames", strconv.AppendInt(nil, int64(frames-1), 10))
	whole.put("largest", strconv.AppendInt(nil, int64(largest), 10))
	whole.put("names", []byte(strings.Join(names, " ")))
	whole.put("entries", []byte(strings.Join(entries, "\n")))
	whole.put("data", data)
	return whole, nil
}

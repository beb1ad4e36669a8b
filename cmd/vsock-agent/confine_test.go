package main_test

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// confineKinds has the entries of a confinement: the number of each, and its fields. A digit is a
// number of so many bytes, t a text, and * the rest.
var confineKinds = map[string]struct {
	kind   byte
	layout string
}{
	"namespaces": {1, "1"}, "join": {2, "81"}, "names": {3, "tt"}, "sysctl": {4, "tt"}, "root": {5, "1t"},
	"mount": {6, "14tttt"}, "device": {7, "44444t"}, "link": {8, "tt"}, "console": {9, "t"},
	"read-only": {10, "t"}, "mask": {11, "t"}, "bounding": {12, "8"}, "capabilities": {13, "8888"},
	"no-new-privs": {14, ""}, "seccomp": {15, "4*"}, "umask": {16, "2"}, "oom": {17, "4"}, "groups": {18, "*"},
	"limit":   {19, "tt"},
	"unknown": {99, "*"},
}

// confineEntry encodes an entry of a transcript: its kind and fields, with | between them.
func confineEntry(text string) ([]byte, error) {
	words := strings.Split(text, "|")
	k, ok := confineKinds[words[0]]
	if !ok || len(words) != 1+len(k.layout) {
		return nil, fmt.Errorf("confine=%q is no kind with %d fields", text, len(words)-1)
	}
	var body []byte
	for i, at := range []byte(k.layout) {
		word := words[1+i]
		switch at {
		case 't':
			body = append(binary.BigEndian.AppendUint16(body, uint16(len(word))), word...)
		case '*':
			body = append(body, word...)
		default:
			n, err := strconv.ParseUint(word, 0, 64)
			if err != nil {
				return nil, fmt.Errorf("confine=%q: %w", text, err)
			}
			var wide [8]byte
			binary.BigEndian.PutUint64(wide[:], n)
			body = append(body, wide[8-int(at-'0'):]...)
		}
	}
	return append(binary.BigEndian.AppendUint32([]byte{k.kind}, uint32(len(body))), body...), nil
}

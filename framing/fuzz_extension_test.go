package framing

import (
	"bytes"
	"testing"
)

// FuzzHostMessages fuzzes the messages of the extension that a host sends, and FuzzGuestMessages
// those that a guest sends.
func FuzzHostMessages(f *testing.F)  { fuzzExtension(f, true) }
func FuzzGuestMessages(f *testing.F) { fuzzExtension(f, false) }

func fuzzExtension(f *testing.F, fromHost bool) {
	for _, g := range readGolden(f) {
		if g.fields["stream_error"] == "" && extensionTypes[g.typ()] != nil && g.typ().FromHost() == fromHost {
			f.Add(byte(g.typ()), g.payload())
		}
	}
	f.Fuzz(func(t *testing.T, b byte, payload []byte) {
		typ := Type(b)
		if extensionTypes[typ] == nil || typ.FromHost() != fromHost {
			return
		}
		lines, ok := agree(t, typ, payload)
		if !ok {
			return
		}
		message, err := parseExtension(typ, payload)
		if err != nil {
			t.Fatal(err)
		}
		if list, ok := message.(processListMessage); ok {
			for _, p := range list.Processes {
				if len(p.Command) > MaxCommand {
					return // the encoder cuts it
				}
			}
		}
		// Each message has one encoding. It is found again from the parser's result, and from its
		// parts.
		const before = "before"
		again := appendExtension([]byte(before), 7, message)
		if !bytes.Equal(again, append([]byte(before), AppendFrame(nil, typ, 7, payload)...)) {
			t.Fatalf("%v: %x became %x", typ, payload, again)
		}
		if made := build(t, typ, 7, lines); !bytes.Equal(made, again[len(before):]) {
			t.Fatalf("%v: %x was made again as %x", typ, payload, made)
		}
	})
}

// FuzzEntries fuzzes what is parsed one by one: the entries of a directory, facts and figures.
func FuzzEntries(f *testing.F) {
	for _, g := range readGolden(f) {
		switch {
		case g.fields["stream_error"] != "":
		case g.typ() == TypeStatResult:
			f.Add(uint16(1), g.payload())
		case g.typ() == TypeHelloResult && len(g.payload()) > 16:
			f.Add(uint16(1), g.payload()[16:])
			f.Add(uint16(2), g.payload()[16:])
		case g.typ() == TypeFigures && len(g.payload()) > 2:
			f.Add(uint16(1), g.payload()[2:])
			f.Add(uint16(2), g.payload()[2:])
		}
	}
	f.Add(uint16(0), listOf("a", "b", "..."))
	f.Add(uint16(0), listOf("a", "..", "b"))
	f.Fuzz(func(t *testing.T, count uint16, entries []byte) {
		agree(t, TypeHelloResult, append(appendU16(make([]byte, 2+4+8), count), entries...))
		agree(t, TypeFigures, append(appendU16(nil, count), entries...))
		checkList(t, entries)
	})
}

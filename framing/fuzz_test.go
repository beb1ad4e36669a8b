package framing

import (
	"bytes"
	"fmt"
	"testing"
)

// cutter returns read sizes from fuzz input: its bytes in turn, over and over. Without any, all is
// one piece.
func cutter(cuts []byte) func() int {
	i := 0
	return func() int {
		if len(cuts) == 0 {
			return 1 << 30
		}
		n := int(cuts[i%len(cuts)])
		i++
		return n
	}
}

// someCuts are seeds for cutter: byte by byte, in pieces of headers, uneven, and all at once.
var someCuts = [][]byte{{1}, {4, 5}, {3, 1, 7, 200, 2}, {}}

func FuzzDecoder(f *testing.F) {
	var all []byte
	for _, g := range readGolden(f) {
		for _, cuts := range someCuts {
			f.Add(g.frame, uint16(32), cuts)
		}
		if g.fields["stream_error"] == "" {
			all = append(all, g.frame...)
		}
	}
	for _, cuts := range someCuts {
		f.Add(all, uint16(16), cuts)
		f.Add(append(all[:len(all):len(all)], 0, 0, 0, 4), uint16(64), cuts)
		f.Add(AppendFrame(nil, TypeWriteFile, 1, payloadOf(400)), uint16(100), cuts)
	}
	f.Fuzz(func(t *testing.T, stream []byte, window uint16, cuts []byte) {
		checkStream(t, stream, HeaderSize+1+int(window), cutter(cuts))
	})
}

func FuzzExec(f *testing.F) {
	for _, g := range readGolden(f) {
		if g.fields["stream_error"] != "" {
			continue
		}
		for _, cuts := range someCuts {
			f.Add(g.typ() == TypeSpawnWatch, g.payload(), cuts)
		}
	}
	f.Fuzz(func(t *testing.T, watch bool, payload, cuts []byte) {
		typ := TypeExec
		if watch {
			typ = TypeSpawnWatch
		}
		lines, ok := agree(t, typ, payload)
		var e Exec
		err := ParseExec(typ, payload, &e)
		if got := checkPieces(typ, payload, cutter(cuts)); fmt.Sprint(got) != fmt.Sprint(err) {
			t.Fatalf("%x: in pieces %v, whole %v", payload, got, err)
		}
		if !ok {
			return
		}
		// The encoder may choose a shorter form, and then keeps to it.
		again := AppendExec(nil, typ, 7, &e)
		if got, err := describe(typ, again[HeaderSize:]); got != lines {
			t.Fatalf("%x: encoded again\n%s(%v)\nwas\n%s", payload, got, err, lines)
		}
		if len(again) > HeaderSize+len(payload) {
			t.Fatalf("%x became longer: %x", payload, again)
		}
		if len(again) == HeaderSize+len(payload) && !bytes.Equal(again[HeaderSize:], payload) {
			t.Fatalf("%x became %x", payload, again)
		}
	})
}

func FuzzWriteFile(f *testing.F) {
	for _, g := range readGolden(f) {
		if g.fields["stream_error"] != "" {
			continue
		}
		for _, cuts := range someCuts {
			f.Add(g.payload(), cuts)
		}
	}
	f.Add(fileBytes(MaxPath+9, string(bytes.Repeat([]byte{'p'}, MaxPath+9)), 1, 2, "xy"), []byte{255})
	f.Fuzz(func(t *testing.T, payload, cuts []byte) {
		sameWriteFile(t, payload, cutter(cuts))
		var w WriteFile
		content, err := ParseWriteFile(payload, &w)
		if err != nil {
			return
		}
		again := append(AppendWriteFileHead(nil, 7, &w), content...)
		if !bytes.Equal(again[HeaderSize:], payload) {
			t.Fatalf("%x became %x", payload, again)
		}
	})
}

// FuzzReplies fuzzes what a guest sends, which a host parses whole.
func FuzzReplies(f *testing.F) {
	for _, g := range readGolden(f) {
		if g.fields["stream_error"] == "" {
			f.Add(byte(g.typ()), g.payload())
		}
	}
	f.Fuzz(func(t *testing.T, typ byte, payload []byte) {
		agree(t, Type(typ), payload)
		var again []byte
		var r ExecResult
		switch Type(typ) {
		case TypeExecResult:
			if ParseExecResult(payload, &r) != nil {
				return
			}
			again = AppendExecResult(nil, 7, &r)
		case TypeProcessExit:
			pid, err := ParseProcessExit(payload, &r)
			if err != nil {
				return
			}
			again = AppendProcessExit(nil, pid, &r)
		case TypeSpawnResult:
			pid, err := ParseSpawnResult(payload)
			if err != nil {
				return
			}
			again = AppendSpawnResult(nil, 7, pid)
		case TypeError:
			message, err := ParseError(payload)
			if err != nil {
				return
			}
			again = AppendError(nil, 7, string(message))
		case TypeWriteFileResult:
			reason, ok, err := ParseWriteFileResult(payload)
			if err != nil || ok != (len(reason) == 0) {
				return // the encoder has no form for it
			}
			again = AppendWriteFileResult(nil, 7, string(reason))
		default:
			return
		}
		if !bytes.Equal(again[HeaderSize:], payload) {
			t.Fatalf("%v: %x became %x", Type(typ), payload, again)
		}
	})
}

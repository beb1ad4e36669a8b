package framing

import (
	"bytes"
	"testing"
)

// BenchmarkDecodePings decodes 64 pings in one buffer; one op is all of them.
func BenchmarkDecodePings(b *testing.B) {
	buf := bytes.Repeat(AppendFrame(nil, TypePing, 1, nil), 64)
	d := Decoder{Window: 64 << 10}
	var p Part
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		for rest := buf; len(rest) > 0; {
			n, err := d.Next(rest, &p)
			if err != nil {
				b.Fatal(err)
			}
			rest = rest[n:]
		}
	}
	b.ReportMetric(64*float64(b.N)/b.Elapsed().Seconds(), "frames/s")
}

// BenchmarkAnswerPings decodes 64 pings in one buffer and encodes their pongs into another; one op
// is all of them.
func BenchmarkAnswerPings(b *testing.B) {
	buf := bytes.Repeat(AppendFrame(nil, TypePing, 1, nil), 64)
	out := make([]byte, 0, len(buf))
	d := Decoder{Window: 64 << 10}
	var p Part
	b.ReportAllocs()
	for b.Loop() {
		out = out[:0]
		for rest := buf; len(rest) > 0; {
			n, err := d.Next(rest, &p)
			if err != nil {
				b.Fatal(err)
			}
			rest = rest[n:]
			out = AppendFrame(out, TypePong, p.Seq, nil)
		}
	}
	b.ReportMetric(64*float64(b.N)/b.Elapsed().Seconds(), "frames/s")
}

func BenchmarkEncodePong(b *testing.B) {
	dst := make([]byte, 0, 64)
	seq := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendFrame(dst[:0], TypePong, seq, nil)
		seq++
	}
}

// BenchmarkDecodePieces decodes a frame of 1 MiB that comes 64 KiB at a time.
func BenchmarkDecodePieces(b *testing.B) {
	frame := AppendFrame(nil, TypeWriteFile, 1, make([]byte, 1<<20))
	d := Decoder{Window: 64 << 10}
	var p Part
	b.ReportAllocs()
	for b.Loop() {
		for rest := frame; len(rest) > 0; {
			n, err := d.Next(rest[:min(len(rest), d.Window)], &p)
			if err != nil {
				b.Fatal(err)
			}
			rest = rest[n:]
		}
	}
}

func BenchmarkParseExec(b *testing.B) {
	payload := AppendExec(nil, TypeExec, 1, &Exec{TimeoutMS: 30000, Command: []byte("make -j4 test")})[HeaderSize:]
	var e Exec
	b.ReportAllocs()
	for b.Loop() {
		if err := ParseExec(TypeExec, payload, &e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseWriteFilePieces(b *testing.B) {
	payload := fileBytes(6, "/tmp/a", 0, 3, "abc")
	var w WriteFileParser
	b.ReportAllocs()
	for b.Loop() {
		w.Reset(len(payload))
		if _, err := w.Parse(payload); err != nil {
			b.Fatal(err)
		}
		if err := w.Finish(); err != nil {
			b.Fatal(err)
		}
	}
}

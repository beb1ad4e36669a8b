package framing

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// golden is a file of testdata/golden: a frame written out by hand, and what it says.
//
// A line with " = " in it is a field; every other one is bytes in hex, up to a # that begins a
// comment. The fields type and seq are the header's, and the message's own are named and ordered as
// describe has them. Beside them:
//
//	encode = no          another frame is the encoder's way to say this
//	payload_error = ...  the payload is refused, so
//	stream_error = ...   the stream ends here, with a *LengthError
type golden struct {
	name   string
	frame  []byte
	header string            // the lines of type and seq
	lines  string            // the message's own fields
	fields map[string]string // all of them
}

func (g *golden) payload() []byte { return g.frame[HeaderSize:] }

// typ returns the type in the frame.
func (g *golden) typ() Type { return Type(g.frame[4]) }

// readGolden reads all golden files.
func readGolden(t testing.TB) []*golden {
	t.Helper()
	names, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	all := make([]*golden, 0, len(names))
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		g := &golden{name: strings.TrimSuffix(filepath.Base(name), ".txt"), fields: map[string]string{}}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSuffix(line, "\n")
			if strings.HasPrefix(line, "#") {
				continue
			}
			key, value, isField := strings.Cut(line, " = ")
			if !isField {
				digits, _, _ := strings.Cut(line, "#")
				b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(digits), " ", ""))
				if err != nil {
					t.Fatalf("%s: %q: %v", name, line, err)
				}
				g.frame = append(g.frame, b...)
				continue
			}
			g.fields[key] = value
			switch key {
			case "type", "seq":
				g.header += line + "\n"
			case "encode", "payload_error", "stream_error":
			default:
				g.lines += line + "\n"
			}
		}
		all = append(all, g)
	}
	return all
}

func TestGoldenDecode(t *testing.T) {
	t.Parallel()
	seen := map[Type]bool{}
	for _, g := range readGolden(t) {
		d := Decoder{Window: 4096}
		var p Part
		n, err := d.Next(g.frame, &p)
		if want := g.fields["stream_error"]; want != "" {
			if n != 0 || err == nil || err.Error() != want {
				t.Errorf("%s: took %d, %v", g.name, n, err)
			}
			continue
		}
		if n != len(g.frame) || err != nil {
			t.Errorf("%s: took %d of %d, %v", g.name, n, len(g.frame), err)
			continue
		}
		seen[p.Type] = true
		if diff := cmp.Diff(g.header, header(p.Header)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", g.name, diff)
		}
		lines, err := describe(p.Type, p.Data)
		if want := g.fields["payload_error"]; want != "" {
			if err == nil || err.Error() != want {
				t.Errorf("%s: error %v, want %v", g.name, err, want)
			}
		} else if err != nil {
			t.Errorf("%s: %v", g.name, err)
		}
		if diff := cmp.Diff(g.lines, lines); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", g.name, diff)
		}
	}
	for _, typ := range allTypes {
		if !seen[typ] {
			t.Errorf("there is no golden file of %v", typ)
		}
	}
}

func TestGoldenEncode(t *testing.T) {
	t.Parallel()
	for _, g := range readGolden(t) {
		if g.fields["stream_error"] != "" || g.fields["payload_error"] != "" || g.fields["encode"] == "no" {
			continue
		}
		got := build(t, g.typ(), u32(g.frame[5:]), g.lines)
		if diff := cmp.Diff(hex.Dump(g.frame), hex.Dump(got)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", g.name, diff)
		}
	}
}

// TestGoldenNaive checks the naive reading, with which the other tests compare.
func TestGoldenNaive(t *testing.T) {
	t.Parallel()
	for _, g := range readGolden(t) {
		frames, bad := naiveFrames(g.frame)
		if g.fields["stream_error"] != "" {
			if bad < 0 {
				t.Errorf("%s: no error", g.name)
			}
			continue
		}
		if bad >= 0 || len(frames) != 1 {
			t.Errorf("%s: %d frames, bad length %d", g.name, len(frames), bad)
			continue
		}
		if diff := cmp.Diff(g.header, header(frames[0].Header)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", g.name, diff)
		}
		if diff := cmp.Diff(g.lines, naiveMessage(frames[0].Type, frames[0].Payload)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", g.name, diff)
		}
	}
}

// TestGoldenCutAndExtended takes every payload shorter, one byte longer, or under another type. It
// is refused, or means what the naive reading says.
func TestGoldenCutAndExtended(t *testing.T) {
	t.Parallel()
	for _, g := range readGolden(t) {
		if g.fields["stream_error"] != "" {
			continue
		}
		for _, typ := range allTypes {
			agree(t, typ, g.payload())
			// The extension has many. Cut, they are tried only under their own type.
			_, extension := extensionTypes[typ]
			if _, too := extensionTypes[g.typ()]; typ != g.typ() && (extension || too) {
				continue
			}
			for n := range g.payload() {
				agree(t, typ, g.payload()[:n])
			}
			for b := range 256 {
				agree(t, typ, append(g.payload()[:len(g.payload()):len(g.payload())], byte(b)))
			}
			if g.fields["payload_error"] == "" && g.typ() == typ {
				checkNeighbours(t, g)
			}
		}
	}
}

// checkNeighbours lists which payloads next to a valid one are valid too.
func checkNeighbours(t *testing.T, g *golden) {
	t.Helper()
	var legal func(n int) bool
	switch typ := g.typ(); typ {
	case TypeFreeze: // the flags are optional
		legal = func(n int) bool { return n == 4 || n == 5 }
	case TypeExec, TypeSpawnWatch:
		payload := g.payload()
		legal = func(n int) bool {
			if isShort := int(u32(payload[4:])) == len(payload)-8; isShort {
				// An empty command of the short form and a NUL are an empty command of the longer
				// form.
				return n == 9 && len(payload) == 8
			}
			// The environment is optional. No flag and the upper bytes of a small count are a short
			// form's count of 0.
			if n == 9+int(u32(payload[5:])) || n == 8 && u32(payload[4:]) == 0 {
				return true
			}
			// A log is optional too.
			var e Exec
			return ParseExec(typ, payload, &e) == nil && len(e.Log) > 0 && n == len(payload)-2-len(e.Log)
		}
	case TypeStdoutChunk:
		legal = func(n int) bool { return n >= 4 }
	case TypeExecResult, TypeProcessExit, TypeWriteFile, TypeWriteFileResult, TypeSpawnResult, TypeError:
		legal = func(int) bool { return false }
	case TypeOutput:
		legal = func(n int) bool { return n >= 1 }
	default:
		legal = func(int) bool { return extensionTypes[typ] == nil }
	}
	for n := range g.payload() {
		if _, ok := agree(t, g.typ(), g.payload()[:n]); ok != legal(n) {
			t.Errorf("%s: cut to %d bytes: accepted: %v", g.name, n, ok)
		}
	}
	longer := append(g.payload()[:len(g.payload()):len(g.payload())], 0)
	if _, ok := agree(t, g.typ(), longer); ok != legal(len(longer)) {
		t.Errorf("%s: with a NUL behind it: accepted: %v", g.name, ok)
	}
}

// header renders the lines of a header.
func header(h Header) string {
	return "type = " + h.Type.String() + "\nseq = " + strconv.FormatUint(uint64(h.Seq), 10) + "\n"
}

package framing

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// parsePieces runs a parser over a payload in pieces and renders the result as describe does.
func parsePieces(t *testing.T, payload []byte, cut func() int) (string, error) {
	t.Helper()
	var w WriteFileParser
	w.Reset(len(payload))
	var content []byte
	var first error
	for rest := payload; len(rest) > 0; {
		n := min(max(cut(), 1), len(rest))
		piece, err := w.Parse(rest[:n])
		rest = rest[n:]
		if first != nil && err != first {
			t.Fatalf("first %v, then %v", first, err)
		}
		if err != nil && len(content) > 0 {
			t.Fatalf("%v after %d bytes of content", err, len(content))
		}
		first = err
		if h, ok := w.Head(); ok && h.Size != len(content)+len(piece)+len(rest) {
			t.Fatalf("a size of %d, with %d bytes there and %d to come", h.Size, len(content)+len(piece), len(rest))
		} else if !ok && len(piece) > 0 {
			t.Fatal("content before the head")
		}
		content = append(content, piece...)
	}
	if err := w.Finish(); err != nil {
		if first != nil && err != first {
			t.Fatalf("first %v, in the end %v", first, err)
		}
		if _, ok := w.Head(); ok || len(content) > 0 {
			t.Fatalf("%v, with a head or content", err)
		}
		return "", err
	}
	h, ok := w.Head()
	if !ok {
		t.Fatal("good without a head")
	}
	path := append([]byte{}, h.Path...)
	if w.PathLen() > MaxPath {
		if len(h.Path) != MaxPath {
			t.Fatalf("kept %d bytes of the path", len(h.Path))
		}
		// Only the length of the part that was not kept is compared.
		path = append(path, payload[2+MaxPath:2+w.PathLen()]...)
	}
	add := ""
	if h.Append {
		add = "append = true\n"
	}
	return fmt.Sprintf("path = %q\nsudo = %v\n%scontent = %q\n", path, h.Sudo, add, content), nil
}

// sameWriteFile checks that a payload reads the same whole and in pieces, errors included.
func sameWriteFile(t *testing.T, payload []byte, cut func() int) {
	t.Helper()
	agree(t, TypeWriteFile, payload)
	want, wantErr := describe(TypeWriteFile, payload)
	got, err := parsePieces(t, payload, cut)
	if got != want || fmt.Sprint(err) != fmt.Sprint(wantErr) {
		t.Fatalf("%x: in pieces\n%s(%v)\nwhole\n%s(%v)", payload, got, err, want, wantErr)
	}
}

// fileBytes returns a write_file payload, valid or not.
func fileBytes(pathCount uint16, path string, flags byte, count uint32, content string) []byte {
	b := append(appendU16(nil, pathCount), path...)
	return append(appendU32(append(b, flags), count), content...)
}

func TestWriteFileErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		payload []byte
		want    string
	}{
		{"nothing", nil, reasonShort},
		{"six bytes", make([]byte, 6), reasonShort},
		{"path beyond the payload", fileBytes(3, "/a", 0, 0, ""), reasonCount},
		{"path of 64 KiB", fileBytes(MaxText, "/a", 0, 0, ""), reasonCount},
		{"path too short", fileBytes(1, "/a", 0, 0, ""), reasonFlag}, // the a is read as flags
		{"content too short", fileBytes(2, "/a", 0, 2, "x"), reasonCount},
		{"content too long", fileBytes(2, "/a", 0, 2, "xyz"), reasonCount},
		{"content of 4 GiB", fileBytes(2, "/a", 0, 1<<32-1, "x"), reasonCount},
		{"NUL first", fileBytes(2, "\x00a", 0, 0, ""), reasonPath},
		{"NUL last", fileBytes(2, "/\x00", 0, 0, ""), reasonPath},
		{"NUL before a bad flag", fileBytes(2, "/\x00", 4, 9, ""), reasonPath},
		{"flag 4", fileBytes(2, "/a", 4, 0, ""), reasonFlag},
		{"flags 1 and 2", fileBytes(2, "/a", 3, 0, ""), ""},
		{"flag 64 beside 1", fileBytes(2, "/a", 65, 0, ""), reasonFlag},
		{"flag before a bad count", fileBytes(2, "/a", 4, 9, ""), reasonFlag},
		{"NUL in the content", fileBytes(2, "/a", 1, 1, "\x00"), ""},
		{"all empty", fileBytes(0, "", 0, 0, ""), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, n := range []int{1, 2, 3, 5, len(test.payload) + 1} {
				sameWriteFile(t, test.payload, every(n))
			}
			_, err := describe(TypeWriteFile, test.payload)
			if got := strings.TrimPrefix(fmt.Sprint(err), "write_file: "); got != test.want && (err != nil || test.want != "") {
				t.Errorf("%x: %v, want %q", test.payload, err, test.want)
			}
		})
	}
}

func TestWriteFileLongPath(t *testing.T) {
	t.Parallel()
	for _, n := range []int{MaxPath - 1, MaxPath, MaxPath + 1, 2*MaxPath + 1, MaxText} {
		path := strings.Repeat("/abc", n/4+1)[:n]
		for _, cut := range []int{1, 1000, MaxPath, 1 << 20} {
			sameWriteFile(t, fileBytes(uint16(n), path, 1, 3, "xyz"), every(cut))
			// A NUL is found everywhere, kept or not.
			sameWriteFile(t, fileBytes(uint16(n), path[:n-1]+"\x00", 1, 3, "xyz"), every(cut))
		}
	}
}

// TestWriteFileParserAgain uses one parser twice: nothing of a long path, an error or a flag
// persists.
func TestWriteFileParserAgain(t *testing.T) {
	t.Parallel()
	var w WriteFileParser
	for i := range 4 {
		bad := fileBytes(5, "/long", 7, 0, "")
		w.Reset(len(bad))
		if _, err := w.Parse(bad); err == nil {
			t.Fatal("no error")
		}
		good := fileBytes(2, "/a", byte(i), 1, "x")
		w.Reset(len(good))
		if _, ok := w.Head(); ok || w.PathLen() != 0 {
			t.Fatal("a head from before")
		}
		content, err := w.Parse(good)
		if h, ok := w.Head(); err != nil || !ok || string(h.Path) != "/a" || h.Sudo != (i%2 == 1) || string(content) != "x" {
			t.Fatalf("%+v %q %v", h, content, err)
		}
		if err := w.Finish(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWriteFileParserErrsEarly has only the head of a payload whose content would be megabytes.
func TestWriteFileParserErrsEarly(t *testing.T) {
	t.Parallel()
	head := fileBytes(2, "/a", 0, MaxPayload-9, "")
	for _, size := range []int{MaxPayload - 1, MaxPayload + 1} {
		var w WriteFileParser
		w.Reset(size)
		if _, err := w.Parse(head[:len(head)-1]); err != nil {
			t.Fatal(err)
		}
		content, err := w.Parse(append(head[len(head)-1:], 'x'))
		if len(content) > 0 || err == nil || err.Error() != "write_file: a count does not add up" {
			t.Fatalf("%q, %v", content, err)
		}
	}
	var w WriteFileParser
	w.Reset(MaxPayload)
	content, err := w.Parse(append(head, 'x'))
	if h, ok := w.Head(); string(content) != "x" || err != nil || !ok || h.Size != MaxPayload-9 {
		t.Fatalf("%q, %v, %+v", content, err, h)
	}
	if w.Finish() == nil {
		t.Fatal("good with one byte of content")
	}
}

// TestWriteFileParserMisuse passes pieces that are not the payload that Reset announced.
func TestWriteFileParserMisuse(t *testing.T) {
	t.Parallel()
	var w WriteFileParser
	if w.Finish() == nil {
		t.Error("nothing at all is good")
	}
	payload := fileBytes(2, "/a", 0, 1, "x")
	w.Reset(len(payload))
	if _, err := w.Parse(payload); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Parse([]byte("y")); err == nil || w.Finish() == nil {
		t.Error("good with a byte too many")
	}
	w.Reset(3)
	if _, err := w.Parse(nil); err == nil || err.Error() != "write_file: payload is short" {
		t.Error(err)
	}
}

func TestWriteFileHeadPanicsOverALongPath(t *testing.T) {
	t.Parallel()
	w := WriteFile{Path: bytes.Repeat([]byte{'a'}, MaxText)}
	if head := AppendWriteFileHead(nil, 1, &w); len(head) != HeaderSize+w.PayloadSize() {
		t.Errorf("%d bytes", len(head))
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	w.Path = append(w.Path, 'a')
	AppendWriteFileHead(nil, 1, &w)
}

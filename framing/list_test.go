package framing

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wick/framing/wiretest"
)

// listOf returns the output of a list with entries of the given names.
func listOf(names ...string) (b []byte) {
	for i, name := range names {
		b = AppendFileInfo(b, &FileInfo{Mode: 0o100644, Size: uint64(i), Name: []byte(name)})
	}
	return b
}

// checkList parses the output of a list and compares with the naive reading. It returns the names
// before the first error.
func checkList(t *testing.T, output []byte) (names []string, err error) {
	t.Helper()
	for rest := output; len(rest) > 0; {
		fields, wantRest, badEntry := wiretest.ParseFirst(wiretest.StatResult, rest)
		name := ""
		if badEntry == nil {
			name = fields.Text("name")
		}
		good := name != "" && name != "." && name != ".." && !strings.Contains(name, "/")

		var i FileInfo
		before := rest
		i, rest, err = CutFileInfo(rest)
		if good != (err == nil) {
			t.Fatalf("%x: %v, want it to be good: %v", before, err, good)
		}
		if bad := (*PayloadError)(nil); err != nil {
			if !errors.As(err, &bad) || bad.Type != TypeList || rest != nil {
				t.Fatalf("%x: %#v, rest %x", before, err, rest)
			}
			return names, err
		}
		if diff := cmp.Diff(naiveLines(TypeStatResult, fields), render(i)); diff != "" {
			t.Fatalf("%x: (-want +got)\n%s", before, diff)
		}
		if !bytes.Equal(rest, wantRest) {
			t.Fatalf("%x: rest %x, want %x", before, rest, wantRest)
		}
		if again := AppendFileInfo(nil, &i); !bytes.Equal(again, before[:len(before)-len(rest)]) {
			t.Fatalf("%x became %x", before, again)
		}
		names = append(names, name)
	}
	return names, nil
}

func TestList(t *testing.T) {
	t.Parallel()
	const bad = "list: no name of a directory's entry"
	for _, test := range []struct {
		output []byte
		names  string
		err    string
	}{
		{nil, "", ""},
		{listOf("a"), "a", ""},
		{listOf("a", "...", "..b", " ", "\\", "\xff"), "a,...,..b, ,\\,\xff", ""},
		{listOf("a", ""), "a", bad},
		{listOf("a", ".", "b"), "a", bad},
		{listOf("a", "..", "b"), "a", bad},
		{listOf("../etc"), "", bad},
		{listOf("/"), "", bad},
		{listOf("a/"), "", bad},
		{listOf("a", "b\x00"), "a", "list: NUL in a text"},
		{listOf("a", "b")[:2*(FileInfoSize+1)-1], "a", "list: payload is short"},
		{append(listOf("a"), 0), "a", "list: payload is short"},
		{AppendFileInfo(nil, &FileInfo{Name: []byte("a"), Target: []byte("..\x00")}), "", "list: NUL in a text"},
	} {
		names, err := checkList(t, test.output)
		message := ""
		if err != nil {
			message = err.Error()
		}
		if got := strings.Join(names, ","); got != test.names || message != test.err {
			t.Errorf("%q: names %q, error %q, want %q", test.output, got, message, test.names)
		}
	}
	if n := len(listOf("")); n != FileInfoSize {
		t.Errorf("FileInfoSize is %d, want %d", FileInfoSize, n)
	}
}

// TestListCut cuts the output of a list at every length.
func TestListCut(t *testing.T) {
	t.Parallel()
	output := listOf("a", "bcd", "e")
	for n := range output {
		if _, err := checkList(t, output[:n]); (err == nil) != (n == 0 || n == FileInfoSize+1 || n == 2*FileInfoSize+4) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

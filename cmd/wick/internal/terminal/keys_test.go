package terminal

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestUntilDetach passes on all keys but the two, however they come.
func TestUntilDetach(t *testing.T) {
	for typed, want := range map[string]string{
		"abc": "abc", "a\x10b": "a\x10b", "\x10\x10\x10x": "\x10\x10\x10x", "\x11\x10a": "\x11\x10a", "": "",
	} {
		for name, r := range map[string]io.Reader{"at once": strings.NewReader(typed), "one by one": iotest.OneByteReader(strings.NewReader(typed))} {
			got, err := io.ReadAll(UntilDetach(r, make(chan struct{})))
			if err != nil || string(got) != want {
				t.Errorf("%q, %s: got %q, %v", typed, name, got, err)
			}
		}
	}
	for _, one := range []bool{false, true} {
		var r io.Reader = strings.NewReader("ab\x10\x11cd")
		if one {
			r = iotest.OneByteReader(r)
		}
		left := make(chan struct{})
		d := UntilDetach(r, left)
		got := make([]byte, 0, 10)
		for open := true; open; {
			n, err := d.Read(got[len(got):cap(got)])
			if err != nil {
				t.Fatal(err)
			}
			got = got[:len(got)+n]
			select {
			case <-left:
				open = false
			default:
			}
		}
		if string(got) != "ab" {
			t.Errorf("got %q", got)
		}
	}
}

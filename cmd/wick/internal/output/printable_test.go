package output

import (
	"strings"
	"testing"
)

func TestPrintable(t *testing.T) {
	if got := Printable("a\x1b[31m\u009bb\u00fc"); got != "a?[31m?b\u00fc" {
		t.Errorf("got %q", got)
	}
}

// TestPrintableWriter gives it a guest's console in pieces of every size.
func TestPrintableWriter(t *testing.T) {
	const in = "a\tb\r\r\n\x1b[31mred\x1b[0m\r\nover\rwrite\x07\u009b2J\xff \u00fc\u4e16 \u202e\ufffd\n"
	const want = "a\tb\n?[31mred?[0m\nover?write??2J? \u00fc\u4e16 ?\ufffd\n"
	for size := 1; size <= len(in); size++ {
		var out strings.Builder
		w := &PrintableWriter{W: &out}
		for rest := in; rest != ""; {
			n := min(size, len(rest))
			if k, err := w.Write([]byte(rest[:n])); k != n || err != nil {
				t.Fatalf("Write = %d, %v, want %d", k, err, n)
			}
			rest = rest[n:]
		}
		if out.String() != want {
			t.Errorf("in pieces of %d: %q, want %q", size, out.String(), want)
		}
	}
}

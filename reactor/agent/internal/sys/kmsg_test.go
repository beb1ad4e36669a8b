package sys

import (
	"fmt"
	"testing"
)

func TestKernelRecord(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"6,339,5140900,-;NET: up\n SUBSYSTEM=net\n": `6 339 5140900 "NET: up" " SUBSYSTEM=net\n"`,
		"12,1,2,-,caller=T1;a;b":                    `12 1 2 "a;b" ""`,
		"6,18446744073709551615,0,c;\n":             `6 18446744073709551615 0 "" ""`,
		"":                                          "",
		"6,339,5140900,-":                           "",
		"6,339,5140900;x":                           "",
		"6,339;x":                                   "",
		"-1,339,5140900,-;x":                        "",
		"65536,339,5140900,-;x":                     "",
		"6,99999999999999999999999999,5140900,-;x":     "",
		"6,339,5140900,-\n;x":                          `6 339 5140900 "x" ""`,
		"6,1,1,-;Out of memory: \\x0a\n KEY=\\x00\n\n": `6 1 1 "Out of memory: \\x0a" " KEY=\\x00\n\n"`,
	} {
		var r KernelRecord
		got := ""
		if r.Parse([]byte(text)) {
			got = fmt.Sprintf("%d %d %d %q %q", r.Priority, r.Sequence, r.TimeUS, r.Text, r.Dictionary)
		}
		if got != want {
			t.Errorf("Parse(%q) = %s, want %s", text, got, want)
		}
	}
}

// FuzzKernelRecord checks that the texts of a record are parts of it, in their order.
func FuzzKernelRecord(f *testing.F) {
	f.Add([]byte("6,339,5140900,-,caller=T1;NET: up\n SUBSYSTEM=net\n"))
	f.Add([]byte("6,,,;;\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r KernelRecord
		if !r.Parse(b) {
			return
		}
		tail := string(r.Text)
		if r.Dictionary != nil {
			tail += "\n" + string(r.Dictionary)
		}
		if n := len(b) - len(tail); n < 1 || string(b[n:]) != tail || b[n-1] != ';' {
			t.Errorf("Parse(%q) has the texts %q and %q", b, r.Text, r.Dictionary)
		}
	})
}

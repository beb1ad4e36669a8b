package sys

import (
	"bytes"
	"os"
	"testing"
)

// TestPinCode pins the code of this test, which goes on running.
func TestPinCode(t *testing.T) {
	if err := PinCode(make([]byte, 4096), func(uintptr, uintptr) {}); err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, locked, _ := bytes.Cut(status, []byte("VmLck:"))
	locked, _, _ = bytes.Cut(locked, []byte("kB"))
	if n, ok := ParseNumber(string(bytes.TrimSpace(locked))); !ok || n == 0 {
		t.Errorf("%q kB are locked", locked)
	}
}

func TestParseRange(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][2]uintptr{
		"00400000-004b6000 r-xp": {0x400000, 0x4b6000},
		"7ffe-7fff ":             {0x7ffe, 0x7fff},
		"00400000-004b6000":      {}, // cut off
		"00400000-004":           {},
		"-":                      {},
		"5-4 ":                   {},
		"x-4 ":                   {},
		"":                       {},
	} {
		from, to, ok := parseRange(line)
		if want != ([2]uintptr{}) != ok || ok && want != [2]uintptr{from, to} {
			t.Errorf("%q: %x, %x, %v", line, from, to, ok)
		}
	}
}

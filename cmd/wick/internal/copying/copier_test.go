package copying

import (
	"strings"
	"testing"
	"time"
)

func TestPlace(t *testing.T) {
	for _, test := range []struct {
		source, target string
		isDir          bool
		want           string
	}{
		{"/a/f", "/b", false, "/b"}, {"/a/f", "/b", true, "/b/f"}, {"/a/d/", "/b", true, "/b/d"}, {"/a/d/.", "/b", true, "/b"}, {".", "/b", true, "/b"},
		{"/", "/b", true, "/b"},
	} {
		if got := place(test.source, test.target, test.isDir); got != test.want {
			t.Errorf("%+v: got %s", test, got)
		}
	}
}

func TestBar(t *testing.T) {
	var out strings.Builder
	start := time.Now()
	b := &Bar{w: &out, name: "f", size: 4 << 20, drawn: start}
	b.add(1<<20, start)
	b.Clear()
	if out.Len() > 0 {
		t.Errorf("what is quick shows %q", out.String())
	}
	b.add(1<<20, start.Add(barPause))
	b.Clear()
	want := "\rf [===============               ]  50% of 4.0 MiB\x1b[K\r\x1b[K"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	if line := (&Bar{name: "empty"}).line(); !strings.Contains(line, "100%") {
		t.Errorf("got %q", line)
	}
}

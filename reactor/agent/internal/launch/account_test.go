package launch

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// TestTables reads tables of users that are as long as they like.
func TestTables(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "group")
	var members []string
	for i := range 20_000 {
		members = append(members, fmt.Sprintf("user%d", i))
	}
	text := "\n:::\nno colon\nlong:x:7:" + strings.Join(members, ",") + "\nempty:x:8:\n" + strings.Repeat("z", 100_000) + ":x:9:last"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var r tableReader
	if err := r.open(path); err != nil {
		t.Fatal(err)
	}
	defer r.close()
	var lines []string
	for r.hasMore() {
		name := r.nextField()
		r.skipField()
		id, n, last := r.nextField(), 0, ""
		for r.hasMore() && !r.atEnd() {
			last = r.nextItem()
			n++
		}
		r.endLine()
		lines = append(lines, fmt.Sprintf("%.10s:%d:%s:%d:%s", name, len(name), id, n, last))
	}
	want := []string{":0::0:", ":0::0:", "no colon:8::0:", "long:4:7:20000:user19999", "empty:5:8:0:", fmt.Sprintf("zzzzzzzzzz:%d:9:1:last", unix.PathMax)}
	if got := strings.Join(lines, "\n"); got != strings.Join(want, "\n") || r.err != nil {
		t.Errorf("%s\n%v", got, r.err)
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := new(tableReader).open(fifo); !sys.IsErrno(err, unix.EINVAL) {
		t.Errorf("open of a FIFO: %v, want %v", err, unix.EINVAL)
	}
	for path, want := range map[string]bool{"/proc/self/status": true, "/": false} {
		if got := mayBlock(path); got != want {
			t.Errorf("served(%q) = %v, want %v", path, got, want)
		}
	}
}

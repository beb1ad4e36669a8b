package reactor

import (
	"os"
	"testing"
)

// null is /dev/null, for a child's descriptors; it is open for as long as the test runs.
func null(t testing.TB) int {
	t.Helper()
	f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return int(f.Fd())
}

// shell is a command of /bin/sh without input or output.
func shell(t testing.TB, script string, args ...string) *Command {
	fd := null(t)
	return &Command{
		Path:  "/bin/sh",
		Args:  append([]string{"sh", "-c", script, "sh"}, args...),
		Env:   []string{"PATH=/bin:/usr/bin"},
		Files: [3]int{fd, fd, fd},
	}
}

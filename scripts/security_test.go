package scripts_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// shownIn has the directories whose tests the security page names, by the word before the colon.
// Without one it is the page's own.
var shownIn = map[string]string{
	"":        "reactor/agent",
	"wire":    "reactor/agent/internal/wire",
	"command": "reactor/agent/internal/command",
	"session": "reactor/agent/internal/session",
	"files":   "reactor/agent/internal/files",
	"log":     "reactor/agent/internal/log",
	"contain": "reactor/agent/internal/contain", "workload": "reactor/agent/internal/workload",
	"configure": "reactor/agent/internal/configure", "watch": "reactor/agent/internal/watch",
	"launch": "reactor/agent/internal/launch",
	"link":   "reactor/agent/internal/link",
	// machine is the host's.
	"agent_machine": "reactor/agent/internal/machine",
	"reactor":       "reactor",
	"sysinit":       "sysinit",
	"guest":         "cmd/wick/internal/guesttest",
	"model":         "cmd/wick/internal/modeltest",
	"client":        "framing/client",
	"wick":          "cmd/wick",
	"device":        "cmd/wick/internal/vhostvsock",
	"network":       "reactor/agent/internal/network",
	"evidence":      "reactor/agent/internal/evidence",
	"usernet":       "cmd/wick/internal/usernet",
	"machine":       "cmd/wick/internal/machine",
	"vmm":           "cmd/wick/internal/vmm",
	"output":        "cmd/wick/internal/output",
	"transcript":    "cmd/vsock-agent/testdata/conformance",
	"transcripts":   "cmd/vsock-agent/testdata/conformance",
}

var (
	shownBy   = regexp.MustCompile(`^(?:(\w+): )?(.*)$`)
	shownTest = regexp.MustCompile(`\b((?:Test|Fuzz)\w+)(?:/(\w+))?`)
	shownCase = regexp.MustCompile(`([a-z_]+)|"([^"]+)"`)
)

// TestSecurityPage ties the claims of the security page to tests: every row names one, and each
// that is named exists.
func TestSecurityPage(t *testing.T) {
	const page = "reactor/agent/security.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if len(cells) < 3 || !strings.HasPrefix(line, "| ") || strings.TrimSpace(cells[2]) == "shown by" {
			continue
		}
		rows++
		shown := 0
		for _, item := range strings.Split(cells[len(cells)-1], "; ") {
			m := shownBy.FindStringSubmatch(strings.TrimSpace(item))
			dir := shownIn[m[1]]
			switch {
			case m[2] == "not testable from here":
				shown++
			case dir == "":
				t.Errorf("%s: no directory is known for %q", page, item)
			case strings.HasPrefix(m[1], "transcript"):
				shown += transcriptsExist(t, dir, m[2])
			default:
				shown += testsExist(t, dir, m[2])
			}
		}
		if shown == 0 {
			t.Errorf("%s: nothing shows that %s", page, cells[0])
		}
	}
	if rows < 20 {
		t.Errorf("%s: only %d rows were found", page, rows)
	}
}

// testsExist checks that a package's tests have the functions named, and their subtests by name. It
// returns how many were named.
func testsExist(t *testing.T, dir, item string) (n int) {
	t.Helper()
	source := allOf(t, filepath.Join(dir, "*_test.go"))
	for _, m := range shownTest.FindAllStringSubmatch(item, -1) {
		n++
		if !strings.Contains(source, "func "+m[1]+"(") {
			t.Errorf("%s has no %s", dir, m[1])
		}
		if name := strings.ReplaceAll(m[2], "_", " "); name != "" && !strings.Contains(source, `{"`+name+`", `) {
			t.Errorf("%s: %s has no %q", dir, m[1], name)
		}
	}
	return n
}

// transcriptsExist checks that transcript files exist, and the cases in the file that was named
// before them. It returns how many were named.
func transcriptsExist(t *testing.T, dir, item string) (n int) {
	t.Helper()
	file := ""
	for _, m := range shownCase.FindAllStringSubmatch(item, -1) {
		n++
		if m[1] != "" {
			file = m[1]
		}
		source := allOf(t, filepath.Join(dir, file+".txt"))
		if m[2] != "" && !strings.Contains(source, "\n== "+m[2]+"\n") {
			t.Errorf("%s.txt has no case %q", file, m[2])
		}
	}
	return n
}

// allOf returns the text of all files that match. It is an error if no file does.
func allOf(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Errorf("%s: nothing is there (%v)", pattern, err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

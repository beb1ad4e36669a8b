// Package main_test checks the built agent as its host sees it. It plays the transcripts in
// testdata/conformance against the binary, over a Unix socket.
package main_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

var (
	// scratch is the directory of the whole run. Every user can access it, because some agents do
	// not run as root.
	scratch string
	cases   atomic.Int64
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Cases mostly wait, so more of them than there are processors can run at once.
	parallel := false
	flag.Visit(func(f *flag.Flag) { parallel = parallel || f.Name == "test.parallel" })
	if !parallel {
		flag.Set("test.parallel", "6")
	}
	var err error
	// The name is short, because the path of a Unix socket is limited to 107 bytes.
	if scratch, err = os.MkdirTemp("", "wick"); err == nil {
		err = os.Chmod(scratch, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(scratch)
	os.Exit(code)
}

// agentBinary builds the agent once. WICK_AGENT names another binary to check instead.
var agentBinary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("WICK_AGENT"); path != "" {
		return filepath.Abs(path)
	}
	path := filepath.Join(scratch, "vsock-agent")
	if out, err := exec.Command("../../scripts/build", "-o", path, arch(), "wick/cmd/vsock-agent").CombinedOutput(); err != nil {
		return "", fmt.Errorf("scripts/build: %v\n%s", err, out)
	}
	if emulated() {
		return emulate(path)
	}
	return path, nil
})

func transcripts(t *testing.T) []*conformanceCase {
	files, err := filepath.Glob("testdata/conformance/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	var all []*conformanceCase
	for _, file := range files {
		cases, err := readTranscript(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, cases...)
	}
	return all
}

// TestConformance plays every case of testdata/conformance, each with its own agent and directory:
//
//	go test ./cmd/vsock-agent -run 'TestConformance/exec/the_exit_code'
func TestConformance(t *testing.T) {
	all := transcripts(t)
	binary, err := agentBinary()
	if errors.Is(err, errNoEmulator) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	byFile := map[string][]*conformanceCase{}
	var files []string
	for _, c := range all {
		if byFile[c.file] == nil {
			files = append(files, c.file)
		}
		byFile[c.file] = append(byFile[c.file], c)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(file, ".txt"), func(t *testing.T) {
			t.Parallel()
			for _, c := range byFile[file] {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					if reason := c.notEmulated(); emulated() && reason != "" {
						t.Skip(reason)
					}
					playCase(t, c, binary)
				})
			}
		})
	}
}

func playCase(t *testing.T, c *conformanceCase, binary string) {
	for try := 1; ; try++ {
		r, err := playOnce(t, c, binary)
		if err == nil {
			return
		}
		report := fmt.Sprintf("%v\n the agent's stderr:\n\t%s", err, strings.ReplaceAll(brief(r.stderr.String()), "\n", "\n\t"))
		if out := r.stdout.String(); out != "" {
			report += "\n the agent's stdout:\n\t" + out
		}
		if r.agentGone() {
			report += fmt.Sprintf("\n the agent has ended: %s", r.agent.ProcessState)
		}
		if try == c.tries {
			t.Fatalf("%s", report)
		}
		t.Logf("try %d: %s", try, report)
	}
}

// brief shortens a log. An agent in trouble may log the same line a thousand times, each with a
// stack.
func brief(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	const keep = 20
	if n := len(lines) - 2*keep; n > 0 {
		lines = append(append(lines[:keep:keep], fmt.Sprintf("… %d more lines …", n)), lines[keep+n:]...)
	}
	for i, line := range lines {
		if len(line) > 2000 {
			lines[i] = line[:2000] + "…"
		}
	}
	return strings.Join(lines, "\n")
}

func playOnce(t *testing.T, c *conformanceCase, binary string) (*run, error) {
	number := cases.Add(1)
	r := &run{
		t: t, c: c, binary: binary,
		marker: fmt.Sprintf("WICK_CASE=%d.%d", os.Getpid(), number),
		dir:    filepath.Join(scratch, fmt.Sprint(number)),
		conns:  map[string]*connection{},
		fifos:  map[string]int{},
		marks:  map[string]int{},
		stdout: newOutput(t), stderr: newOutput(t),
	}
	r.vars = map[string]string{"DIR": r.dir, "SOCK": filepath.Join(r.dir, "sock"), "BINARY": binary}
	if err := os.Mkdir(r.dir, 0o755); err != nil {
		return r, err
	}
	for _, need := range c.needs {
		condition, remedy, _ := strings.Cut(need, " -- ")
		var err error
		switch condition {
		case "extended attributes":
			err = unix.Setxattr(r.dir, "user.wick", []byte("x"), 0)
		case "time":
			if testing.Short() {
				err = context.DeadlineExceeded
			}
		default:
			_, err = r.shell(r.expand(condition))
		}
		if err != nil {
			os.RemoveAll(r.dir)
			t.Skipf("%s:%d: %s", c.file, c.line, remedy)
		}
	}
	defer os.RemoveAll(r.dir)
	defer r.end()
	err := r.play()
	if err != nil {
		err = fmt.Errorf("%w%s", err, r.unreadFrames())
	}
	if err == nil && !c.ends() && r.agentGone() {
		err = errors.New("the agent has exited by itself")
	}
	return r, err
}

// ends reports whether the case says that the agent exits. In any other case the agent must live to
// the end.
func (c *conformanceCase) ends() bool {
	for _, s := range c.steps {
		if strings.HasPrefix(s.text, "exit ") {
			return true
		}
	}
	return false
}

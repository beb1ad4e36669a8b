package scripts_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// block is a fenced block of a page.
type block struct {
	line int
	info string // what follows the fence's opening backquotes
	text string

	prints string // the text block behind it: what it prints when it runs
}

// pages returns the paths of the module's Markdown files.
func pages(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

func blocks(t *testing.T, page string) (list []block) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for i, line := range strings.Split(string(text), "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && inside:
			inside = false
		case fence:
			inside = true
			list = append(list, block{line: i + 1, info: info})
		case inside:
			b := &list[len(list)-1]
			b.text += line + "\n"
		}
	}
	return list
}

// TestPages runs the commands of every page: its blocks marked sh, one after another in one shell.
// The shell is in a copy of the module, with the commands built and in the PATH.
//
// A block marked text behind one is what it prints: lines that must come in this order, where …
// stands for anything. A block marked "sh needs=PROGRAM" is run only where that program is, and
// elsewhere only parsed by the shell.
func TestPages(t *testing.T) {
	if testing.Short() {
		t.Skip("boots machines; not with -short")
	}
	copied := ""
	for _, page := range pages(t) {
		var run []block
		ran := false // whether the block before is run
		for _, b := range blocks(t, page) {
			words := strings.Fields(b.info)
			if b.info == "text" && ran {
				run[len(run)-1].prints = b.text
			}
			ran = false
			if len(words) == 0 || words[0] != "sh" {
				continue
			}
			if missing := missingProgram(words[1:]); missing != "" {
				if out, err := shell("sh", "-n", "-c", b.text); err != nil {
					t.Errorf("%s:%d: %v\n%s", page, b.line, err, out)
				}
				t.Logf("%s:%d: not run, there is no %s", page, b.line, missing)
				continue
			}
			run, ran = append(run, b), true
		}
		if len(run) == 0 {
			continue
		}
		if copied == "" {
			copied = copyModule(t)
		}
		t.Run(strings.ReplaceAll(strings.TrimSuffix(page, ".md"), "/", "_"), func(t *testing.T) { runPage(t, copied, run) })
	}
}

// runPage runs a page's blocks in one shell, and compares what each prints with the page.
func runPage(t *testing.T, root string, list []block) {
	const mark = "--- the end of a block ---\n"
	// A block's background processes are in the shell's process group, and end with it.
	script := "set -eu\ntrap 'trap \"\" TERM; kill 0; wait' EXIT\n"
	for _, b := range list {
		script += b.text + "\necho '" + strings.TrimSpace(mark) + "'\n"
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(root, "dist", runtime.GOARCH)+":"+os.Getenv("PATH")+":/usr/sbin:/sbin", "WICK_TO=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	printed := strings.Split(string(out), mark)
	if err != nil {
		t.Fatalf("the block at line %d: %v\n%s", list[min(len(printed), len(list))-1].line, err, out)
	}
	for i, b := range list {
		pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(b.prints)), "…", ".*")
		pattern = strings.ReplaceAll(pattern, "\n", `[ \t]*\n(?s:.*?)`)
		if !regexp.MustCompile(pattern).MatchString(printed[i]) {
			t.Errorf("the block at line %d prints\n%s\nand not\n%s", b.line, printed[i], b.prints)
		}
	}
}

// missingProgram returns the first program that the conditions ask for and this host lacks, or "".
func missingProgram(conditions []string) string {
	for _, c := range conditions {
		if name, ok := strings.CutPrefix(c, "needs="); ok {
			if _, err := exec.LookPath(name); err != nil {
				return name
			}
		}
	}
	return ""
}

func shell(args ...string) ([]byte, error) {
	return exec.Command(args[0], args[1:]...).CombinedOutput()
}

// copyModule copies the files that git tracks, or would track if they were added, and builds the
// commands in the copy.
func copyModule(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	script := `git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$1" && cd "$1" && scripts/build "$2" >/dev/null`
	if out, err := shell("sh", "-c", script, "sh", root, runtime.GOARCH); err != nil {
		t.Fatalf("copy the module: %v\n%s", err, out)
	}
	return root
}

// TestPagesNameTranscripts checks that each transcript case a page names, as `file/case`, exists.
func TestPagesNameTranscripts(t *testing.T) {
	t.Parallel()
	const dir = "cmd/vsock-agent/testdata/conformance"
	cases := map[string]bool{}
	files := map[string]bool{}
	transcripts, err := filepath.Glob(dir + "/*.txt")
	if err != nil || len(transcripts) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, path := range transcripts {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		file := strings.TrimSuffix(filepath.Base(path), ".txt")
		files[file] = true
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(line, "== "); ok {
				cases[file+"/"+strings.TrimSpace(name)] = true
			}
		}
	}
	named := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, span := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(string(text), -1) {
			file, _, ok := strings.Cut(span[1], "/")
			if !ok || !files[file] || !strings.Contains(span[1], " ") {
				continue
			}
			if named++; !cases[span[1]] {
				t.Errorf("%s: there is no case %q", page, span[1])
			}
		}
	}
	if named == 0 {
		t.Error("no page names a case")
	}
}

package scripts_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"wick/framing/client/clienttest"
)

// TestOutsideModule builds the programs of two pages in another module. It imports this one through
// a replace directive, because this one has no public path yet. The README's program runs against
// the real agent.
func TestOutsideModule(t *testing.T) {
	t.Parallel()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, requirements, _ := strings.Cut(string(ours), "\n") // without our module path
	requirements, _, _ = strings.Cut(requirements, "\ntool ")
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	program := func(page string) (text string) {
		for _, b := range blocks(t, page) {
			if b.info == "go" {
				text = b.text
			}
		}
		return text
	}
	for name, text := range map[string]string{
		"main.go":       program("README.md"),
		"embed/main.go": program("cmd/wick/embedding.md"),
		// The requirements are what go mod tidy would write, so that nothing is asked of the
		// network.
		"go.mod": "module example.org/host\n" + requirements +
			"\nrequire wick v0.0.0\n\nreplace wick => " + root + "\n",
		"go.sum": string(sums),
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o777); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", "bin/", "./...")
	build.Dir = dir
	build.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v in another module: %v\n%s", build.Args, err, out)
	}
	socket := filepath.Join(dir, "agent.sock")
	agent, err := clienttest.StartAgent(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer clienttest.RemoveAgent()
	defer agent.Stop()
	out, err := exec.Command(filepath.Join(dir, "bin/host"), "unix:"+socket).CombinedOutput()
	if got, want := string(out), "hello\n"; err != nil || got != want {
		t.Errorf("the program of another module printed %q, %v; want %q", got, err, want)
	}
}

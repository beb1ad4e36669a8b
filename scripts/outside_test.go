package scripts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"wick/framing/client/clienttest"
)

// TestOutsideModule builds the README's program in another module that imports the host's library
// through a replace directive, because this module has no public path yet. The program runs against
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
	var program string
	for _, b := range blocks(t, "README.md") {
		if b.info == "go" {
			program = b.text
		}
	}
	for name, text := range map[string]string{
		"main.go": program,
		// The requirements are what go mod tidy would write, so that nothing is asked of the
		// network.
		"go.mod": "module example.org/host\n" + requirements +
			"\nrequire wick v0.0.0\n\nreplace wick => " + root + "\n",
		"go.sum": string(sums),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-o", "host", ".")
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
	out, err := exec.Command(filepath.Join(dir, "host"), "unix:"+socket).CombinedOutput()
	if got, want := string(out), "hello\n"; err != nil || got != want {
		t.Errorf("the program of another module printed %q, %v; want %q", got, err, want)
	}
}

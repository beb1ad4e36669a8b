package scripts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// outsideMain is a program of another module, as the README shows how to write one.
const outsideMain = `package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"wick/framing/client"
	"wick/framing/client/clienttest"
)

func main() {
	guest := clienttest.Guest{Dir: os.Args[1]}
	if err := guest.Listen(os.Args[1] + "/v.sock"); err != nil {
		panic(err)
	}
	defer guest.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := client.Dial(ctx, "unix:"+os.Args[1]+"/v.sock")
	if err != nil {
		panic(err)
	}
	defer c.Close()
	result, err := c.Exec(ctx, client.Exec{Command: "echo hello"})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s", result.Stdout)
}
`

// TestOutsideModule builds and runs a program of another module that imports the host's library
// through a replace directive, because this module has no public path yet.
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
	_, requirements, _ := strings.Cut(string(ours), "\n") // without our name
	requirements, _, _ = strings.Cut(requirements, "\ntool ")
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"main.go": outsideMain,
		// The requirements stand here as go mod tidy would write them, so that no network is asked.
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
	out, err := exec.Command(filepath.Join(dir, "host"), dir).CombinedOutput()
	if got, want := string(out), "hello\n"; err != nil || got != want {
		t.Errorf("the program of another module printed %q, %v; want %q", got, err, want)
	}
}

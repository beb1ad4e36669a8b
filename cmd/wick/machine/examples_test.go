package machine_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wick/cmd/wick/machine"
)

// TestExamples runs the examples that boot a machine, if this host can, and compares the output
// with the lines behind "prints:".
func TestExamples(t *testing.T) {
	init := machine.InitForTest(t)
	t.Setenv("PATH", filepath.Dir(init)+":"+os.Getenv("PATH"))
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "example_test.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for name, example := range map[string]func(){
		"ExampleBoot": ExampleBoot, "ExampleMachine_WaitPort": ExampleMachine_WaitPort, "ExampleNewPool": ExampleNewPool,
	} {
		if got, want := output(t, example), printed(file, name); got != want || want == "" {
			t.Errorf("%s prints\n%swant\n%s", name, got, want)
		}
	}
}

// printed returns the lines behind "prints:" in a function.
func printed(file *ast.File, name string) string {
	at := file.Scope.Lookup(name).Decl.(*ast.FuncDecl)
	for _, c := range file.Comments {
		if lines, ok := strings.CutPrefix(c.Text(), "prints:\n"); ok && at.Pos() < c.Pos() && c.End() < at.End() {
			return lines
		}
	}
	return ""
}

// output returns what a function prints to the standard output.
func output(t *testing.T, f func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stdout := os.Stdout
	defer func() { os.Stdout = stdout }()
	os.Stdout = w
	f()
	w.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

package framing

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestImports keeps the guest small: it has what this package may import, and why.
func TestImports(t *testing.T) {
	t.Parallel()
	allowed := map[string]string{
		"bytes":   "IndexByte, which is vectorised",
		"strconv": "the numbers in a LengthError",
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range f.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if allowed[path] == "" {
				t.Errorf("%s imports %s, which ends up in every guest", name, path)
			}
		}
	}
}

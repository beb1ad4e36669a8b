package main_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the lists of cases in testdata/conformance/coverage*.md")

// lists are the pages that cases quote, and the lists of their sentences. The base protocol's page is not among the sources.
var lists = []struct{ file, page string }{
	{"testdata/conformance/coverage.md", ""},
	{"testdata/conformance/coverage-extension.md", "../../framing/extension.md"},
}

// TestCoverage keeps the lists of the protocol's sentences and their cases true.
func TestCoverage(t *testing.T) {
	all := transcripts(t)
	quoted := map[*conformanceCase]map[string]bool{}
	seen := map[string]bool{}
	for _, c := range all {
		quoted[c] = map[string]bool{}
		if id := c.file + " " + c.name; seen[id] {
			t.Errorf("%s:%d: there are two cases called %q", c.file, c.line, c.name)
		} else {
			seen[id] = true
		}
	}
	for _, list := range lists {
		checkCoverage(t, all, quoted, list.file, list.page)
	}
	for _, c := range all {
		for _, quote := range c.quotes {
			if !quoted[c][quote] {
				t.Errorf("%s:%d: %q quotes what is no sentence of any list: %s", c.file, c.line, c.name, quote)
			}
		}
	}
}

// joined is a text with its lines joined.
func joined(text string) string { return strings.Join(strings.Fields(text), " ") }

// checkCoverage looks at one list: its sentences are the page's, and each has a case or a reason to have none.
func checkCoverage(t *testing.T, all []*conformanceCase, quoted map[*conformanceCase]map[string]bool, file, page string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	source := ""
	if page != "" {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		source = joined(string(b))
	}
	var b strings.Builder
	covered := true // the sentence before
	sentence := ""
	end := func() {
		if !covered {
			t.Errorf("no case quotes, and no line says why: %s", sentence)
		}
		covered = true
	}
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasPrefix(line, "- "):
			end()
			sentence, covered = strings.TrimSpace(line[2:]), false
			if page != "" && !strings.Contains(source, joined(sentence)) {
				t.Errorf("%s: no sentence of %s: %s", file, page, sentence)
			}
			b.WriteString(line)
			for _, c := range all {
				for _, quote := range c.quotes {
					if strings.Contains(sentence, quote) {
						quoted[c][quote] = true
						covered = true
						fmt.Fprintf(&b, "  - %s: %s\n", strings.TrimSuffix(c.file, ".txt"), c.name)
						break
					}
				}
			}
		case strings.HasPrefix(line, "  - not here: "):
			covered = true
			b.WriteString(line)
		case strings.HasPrefix(line, "  - "):
			// A case, written above if it still is one.
		default:
			b.WriteString(line)
		}
	}
	end()
	switch {
	case b.String() == string(text):
	case *update:
		if err := os.WriteFile(file, []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is out of date: go test ./cmd/vsock-agent -run TestCoverage -update", file)
	}
}

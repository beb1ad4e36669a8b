package main_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the lists of testdata/conformance")

// coverages are the lists of sentences, each with the document that they are of; none for the protocol, whose document the list is.
var coverages = []struct{ list, document, heading string }{
	{list: "coverage.md"},
	{"coverage_asking.md", "../../framing/extension.md", "## Asking for it"},
	{"coverage_streams.md", "../../framing/extension.md", "## Streams"},
	{"coverage_processes.md", "../../framing/extension.md", "## Processes"},
	{"coverage_machine.md", "../../framing/extension.md", "## The machine"},
	{"coverage_files.md", "../../framing/extension.md", "## Files"},
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
	for _, list := range coverages {
		text, err := os.ReadFile("testdata/conformance/" + list.list)
		if err != nil {
			t.Fatal(err)
		}
		checkCoverage(t, list.list, string(text), all, quoted)
		if list.document != "" {
			checkSentences(t, list.list, string(text), list.document, list.heading)
			checkQuotes(t, list.list, string(text), list.document)
		}
	}
	for _, c := range all {
		for _, quote := range c.quotes {
			if !quoted[c][quote] {
				t.Errorf("%s:%d: %q quotes what is no sentence of a list: %s", c.file, c.line, c.name, quote)
			}
		}
	}
}

// checkCoverage goes through a list, and notes which quotes are of it.
func checkCoverage(t *testing.T, file, text string, all []*conformanceCase, quoted map[*conformanceCase]map[string]bool) {
	var b strings.Builder
	covered := true // the sentence before
	sentence := ""
	end := func() {
		if !covered {
			t.Errorf("no case quotes, and no line says why: %s", sentence)
		}
		covered = true
	}
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "- "):
			end()
			sentence, covered = strings.TrimSpace(line[2:]), false
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
	case b.String() == text:
	case *update:
		if err := os.WriteFile("testdata/conformance/"+file, []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is out of date: go test ./cmd/vsock-agent -run TestCoverage -update", file)
	}
}

// checkSentences holds a list against its document: under the heading it has the sentences that the section has, in their order. Tables are not
// listed: package framing holds its codecs against them.
func checkSentences(t *testing.T, file, text, document, heading string) {
	page, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n"+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, list, _ := strings.Cut(text, "\n"+heading+"\n")
	list, _, _ = strings.Cut(list, "\n## ")
	rows := regexp.MustCompile(`(?m)^\|.*\n`)
	section = rows.ReplaceAllString(section, "")
	section = strings.ReplaceAll(section, "\n- ", "\n") // a list's own
	var sentences []string
	for line := range strings.Lines(list) {
		if sentence, ok := strings.CutPrefix(line, "- "); ok {
			sentences = append(sentences, sentence)
		}
	}
	said, listed := strings.Fields(section), strings.Fields(strings.Join(sentences, " "))
	for i := range max(len(said), len(listed)) {
		if i >= len(said) || i >= len(listed) || said[i] != listed[i] {
			t.Errorf("%s: the sentences of %q differ from %s after %q", file, heading, document, said[max(0, min(i, len(said))-10):min(i, len(said))])
			return
		}
	}
}

// checkQuotes holds a list against its document: all that is in it stands there, what is of no section too.
func checkQuotes(t *testing.T, file, text, document string) {
	page, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	joined := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	said := joined(string(page))
	for line := range strings.Lines(text) {
		if sentence, ok := strings.CutPrefix(line, "- "); ok && !strings.Contains(said, joined(sentence)) {
			t.Errorf("%s: no sentence of %s: %s", file, document, sentence)
		}
	}
}

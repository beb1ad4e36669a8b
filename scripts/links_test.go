package scripts_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	fence    = regexp.MustCompile("(?ms)^(```|~~~).*?^(```|~~~)[ \t]*$")
	codeSpan = regexp.MustCompile("`[^`\n]+`")
	link     = regexp.MustCompile(`\]\(([^)\s]+)(?:\s+"[^"]*")?\)`)
	heading  = regexp.MustCompile(`(?m)^#{1,6}[ \t]+(.+?)[ \t]*#*$`)
	// ourPath matches what looks like a path in the module.
	ourPath = regexp.MustCompile(`^(\./)?(\.ci|bench|cmd|framing|reactor|scripts|sysinit)(/[\w.-]+)+/?$`)
	notSlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors returns the anchors that GitHub makes of a page's headings.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		title := link.ReplaceAllString(strings.ReplaceAll(m[1], "`", ""), "]")
		all[strings.ReplaceAll(notSlug.ReplaceAllString(strings.ToLower(title), ""), " ", "-")] = true
	}
	return all
}

// brokenLinks returns what is wrong with the links of a page.
func brokenLinks(path, text string) (broken []string) {
	for _, m := range link.FindAllStringSubmatch(codeSpan.ReplaceAllString(text, ""), -1) {
		to, anchor, _ := strings.Cut(m[1], "#")
		if strings.Contains(to, ":") {
			continue // a link to another host
		}
		target := path
		if to != "" {
			target = filepath.Join(filepath.Dir(path), to)
		}
		content, err := os.ReadFile(target)
		if info, statErr := os.Stat(target); statErr == nil && info.IsDir() {
			err = nil
		}
		switch {
		case strings.HasPrefix(target, "..") || strings.HasPrefix(to, "/"):
			broken = append(broken, m[1]+" leads out of the module")
		case err != nil:
			broken = append(broken, m[1]+": "+err.Error())
		case anchor != "" && !anchors(fence.ReplaceAllString(string(content), ""))[anchor]:
			broken = append(broken, m[1]+": no such heading")
		}
	}
	return broken
}

// missingPaths returns the paths in a page's code spans that exist neither below the module's root
// nor beside the page.
func missingPaths(path, text string) (missing []string) {
	for _, span := range codeSpan.FindAllString(text, -1) {
		word, _, _ := strings.Cut(strings.Trim(span, "`"), " ")
		if !ourPath.MatchString(word) || strings.Contains(word, "...") {
			continue
		}
		_, fromRoot := os.Stat(word)
		_, fromPage := os.Stat(filepath.Join(filepath.Dir(path), word))
		if fromRoot != nil && fromPage != nil {
			missing = append(missing, word)
		}
	}
	return missing
}

// TestLinks checks that what the pages link to exists.
func TestLinks(t *testing.T) {
	t.Parallel()
	for _, path := range pages(t) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := fence.ReplaceAllString(string(content), "")
		for _, broken := range brokenLinks(path, text) {
			t.Errorf("%s: link to %s", path, broken)
		}
		for _, missing := range missingPaths(path, text) {
			t.Errorf("%s: there is no %s", path, missing)
		}
	}
}

// TestLinksAreChecked checks that brokenLinks and missingPaths find what is wrong, and nothing
// else.
func TestLinksAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		"[a](README.md) [b](cmd/vm-init/firecracker.md) [c](https://example.org/x#y) [d](scripts)": "",
		"[a](nowhere.md)":                 "nowhere.md: open nowhere.md: no such file or directory",
		"[a](README.md#nowhere)":          "README.md#nowhere: no such heading",
		"[a](../README.md)":               "../README.md leads out of the module",
		"`[a](nowhere.md)` `[b](c)`":      "",
		"[a](README.md#where-things-are)": "",
	} {
		if got := strings.Join(brokenLinks("README.md", text), "\n"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := anchors("# One *thing*, `twice`\ntext\n## Where [it](x.md) is"); !got["one-thing-twice"] || !got["where-it-is"] {
		t.Errorf("anchors %v", got)
	}
	for text, want := range map[string]string{
		"`scripts/run -- uname -a` `cmd/wick` `./reactor/agent` `reactor/...` `dist/amd64/x` `a/b`": "",
		"`scripts/walk` and `framing/client/nothing.go`":                                            "scripts/walk framing/client/nothing.go",
	} {
		if got := strings.Join(missingPaths("README.md", text), " "); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

package scripts_test

import (
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	// widest is the most columns of a line of prose. A table row, a link and a code block may be
	// wider.
	widest = 100
	// longestSentence is the most words of a sentence.
	longestSentence = 25
)

// discouraged has what style asks to word otherwise, each with the reason.
var discouraged = []struct {
	words  *regexp.Regexp
	reason string
}{
	{regexp.MustCompile(`^(Of|What|Who|Whoever|Whatever|Whose|That) `), "begin with the subject"},
	{regexp.MustCompile(`^For (it|they|he|there|that|this is|these are|a |an |the \w+ (is|are|was|has|have) )`), "say because"},
	{regexp.MustCompile(`(?i)\b(nobody|somebody|whoever)\b`), "these words are for people: name the program"},
	{regexp.MustCompile(`(?i)\b(is|are|was) none\b`), "none is for people: say there is no …"},
	{regexp.MustCompile(`(?i)\bwhich is what\b|\bas far as it goes\b|\bin the place of\b`), "say it directly"},
	{regexp.MustCompile(`, for (it|they|there|nobody|otherwise|what) `), "say because"},
}

// passage is a paragraph, list item or comment, with the line on which it begins.
type passage struct {
	path string
	line int
	text string
}

var (
	codeInProse = regexp.MustCompile("`[^`]*`|\\[[^\\]]*\\]\\([^)]*\\)|https?://\\S+")
	sentenceEnd = regexp.MustCompile(`[.!?:;][)"”*]*(\s|$)`)
)

// faults returns what style would word otherwise.
func (b passage) faults() (faults []string) {
	text := codeInProse.ReplaceAllString(b.text, "x")
	for text = strings.TrimSpace(text); text != ""; {
		sentence, rest := text, ""
		if m := sentenceEnd.FindStringIndex(text); m != nil {
			sentence, rest = text[:m[1]], strings.TrimSpace(text[m[1]:])
		}
		if n := len(strings.Fields(sentence)); n > longestSentence {
			faults = append(faults, "a sentence of more than 25 words: "+sentence)
		}
		for _, d := range discouraged {
			if d.words.MatchString(sentence) {
				faults = append(faults, d.reason+": "+sentence)
			}
		}
		text = rest
	}
	return faults
}

// goBlocks returns the comments of a Go file. Code blocks and directives are left out.
func goBlocks(t *testing.T, path string) (blocks []passage, wide []int) {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Comments {
		b := passage{path: path}
		flush := func() {
			if b.text != "" {
				blocks = append(blocks, b)
			}
			b.text = ""
		}
		for _, c := range group.List {
			text, line := c.Text, set.Position(c.Pos()).Line
			body, ok := strings.CutPrefix(text, "//")
			if strings.HasPrefix(body, " Output:") {
				break // of an example
			}
			if !ok || directive.MatchString(text) {
				flush()
				continue
			}
			indent := set.Position(c.Pos()).Column - 1
			if indent < 7 && utf8.RuneCountInString(text)+4*indent > widest {
				wide = append(wide, line)
			}
			switch {
			case strings.TrimSpace(body) == "", strings.HasPrefix(body, "\t"), strings.HasPrefix(body, " #"):
				flush()
				continue
			case strings.HasPrefix(strings.TrimSpace(body), "- "):
				flush()
				body = strings.TrimPrefix(strings.TrimSpace(body), "- ")
			}
			if b.text == "" {
				b.line = line
			}
			b.text += " " + strings.TrimSpace(body)
		}
		flush()
	}
	return blocks, wide
}

var directive = regexp.MustCompile(`^//[a-z]+:`)

// pageBlocks returns the paragraphs and list items of a page. Tables, code blocks and headings are
// left out.
func pageBlocks(t *testing.T, path string) (blocks []passage, wide []int) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b := passage{path: path}
	flush := func() {
		if b.text != "" {
			blocks = append(blocks, b)
		}
		b.text = ""
	}
	code := false
	for i, line := range strings.Split(string(text), "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "```"), strings.HasPrefix(trimmed, "~~~"),
			strings.HasPrefix(line, "<!-- bench"), strings.HasPrefix(line, "<!-- /bench"): // generated
			code = !code
			flush()
			continue
		case code, strings.HasPrefix(line, "    "), strings.HasPrefix(line, "\t"):
			flush()
			continue
		case strings.HasPrefix(line, "|"): // a cell is a passage
			flush()
			for _, cell := range strings.Split(codeInProse.ReplaceAllString(line, "x"), "|") {
				blocks = append(blocks, passage{path, i + 1, cell})
			}
			continue
		case trimmed == "", strings.ContainsAny(line[:1], "#<[!"):
			flush()
			continue
		case strings.HasPrefix(trimmed, "- "), strings.HasPrefix(trimmed, "* "):
			flush()
			trimmed = trimmed[2:]
		}
		if utf8.RuneCountInString(line) > widest && !strings.Contains(line, "](") {
			wide = append(wide, i+1)
		}
		if b.text == "" {
			b.line = i + 1
		}
		b.text += " " + trimmed
	}
	flush()
	return blocks, wide
}

// TestProse holds pages and comments to the rules of style that a machine can check. These are the
// width of lines, the length of sentences, and words and openings to avoid.
func TestProse(t *testing.T) {
	t.Parallel()
	check := func(file string, blocks []passage, wide []int) {
		for _, line := range wide {
			t.Errorf("%s:%d: more than %d columns", file, line, widest)
		}
		for _, b := range blocks {
			for _, fault := range b.faults() {
				t.Errorf("%s:%d: %s", file, b.line, fault)
			}
		}
	}
	goFiles(t, func(path string) {
		blocks, wide := goBlocks(t, path)
		check(path, blocks, wide)
	})
	for _, path := range pages(t) {
		blocks, wide := pageBlocks(t, path)
		check(path, blocks, wide)
	}
}

var subject = regexp.MustCompile(`^[a-z0-9./_-]+: [^A-Z].+$`)

// unpublished returns the range of git commits that have not been published yet. It begins where
// HEAD left its upstream or the main branch, or else at the last tag. If there is neither it is "".
func unpublished() string {
	git := func(args ...string) string {
		out, _ := exec.Command("git", args...).Output() // empty on failure
		return strings.TrimSpace(string(out))
	}
	head := git("rev-parse", "HEAD")
	for _, ref := range []string{"@{upstream}", "origin/HEAD", "origin/main", "main"} {
		if base := git("merge-base", "HEAD", ref); base != "" && base != head {
			return base + "..HEAD"
		}
	}
	if tag := git("describe", "--tags", "--abbrev=0"); tag != "" {
		return tag + "..HEAD"
	}
	return ""
}

// TestCommitSubjects holds the subjects of unpublished commits to their form.
func TestCommitSubjects(t *testing.T) {
	t.Parallel()
	commits := unpublished()
	if commits == "" {
		t.Skip("HEAD has no commits beyond its upstream or main, and there is no tag")
	}
	out, err := exec.Command("git", "log", "--no-merges", "--format=%h %s", commits).Output()
	if err != nil {
		t.Fatalf("git log %s: %v", commits, err)
	}
	for line := range strings.Lines(string(out)) {
		hash, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n := utf8.RuneCountInString(text); n > 72 || !subject.MatchString(text) {
			t.Errorf("%s: subject %q has %d characters; want \"package: imperative, lower case\", 72 at most",
				hash, text, n)
		}
	}
}

package scripts_test

import (
	"html"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// wickHelp builds wick. It returns a function that gives the help of one of its commands, or false
// if wick has no command of that name.
func wickHelp(t *testing.T) func(command string) (string, bool) {
	t.Helper()
	wick := filepath.Join(t.TempDir(), "wick")
	if out, err := shell("go", "build", "-o", wick, "./cmd/wick"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return func(command string) (string, bool) {
		help, err := shell(append(append([]string{wick}, strings.Fields(command)...), "--help")...)
		return string(help), err == nil && strings.Contains(string(help), "wick "+command)
	}
}

// missingFlags returns the flags among a command's arguments, up to --, that its help does not
// have.
func missingFlags(help, args string) (missing []string) {
	args, _, _ = strings.Cut(args+" ", " -- ")
	for _, word := range strings.Fields(args) {
		if long := regexp.MustCompile(`^--[a-z-]+`).FindString(word); long != "" {
			if !regexp.MustCompile(long + `\b`).MatchString(help) {
				missing = append(missing, long)
			}
		} else if regexp.MustCompile(`^-[a-zA-Z]+$`).MatchString(word) {
			for _, letter := range word[1:] {
				if !strings.Contains(help, " -"+string(letter)+", --") {
					missing = append(missing, "-"+string(letter))
				}
			}
		}
	}
	return missing
}

// TestPagesNameCommands checks that each command of wick that a page names in its text exists and
// has the flags it is named with.
func TestPagesNameCommands(t *testing.T) {
	t.Parallel()
	help := wickHelp(t)
	named := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, span := range regexp.MustCompile("`wick ([a-z]+)([^`\n]*)`").FindAllStringSubmatch(string(text), -1) {
			named++
			known, ok := help(span[1])
			if !ok {
				t.Errorf("%s: there is no command %q", page, span[1])
				continue
			}
			if strings.Contains(known, "wick "+span[1]+" COMMAND") { // it has commands of its own
				sub, _, _ := strings.Cut(strings.TrimSpace(span[2])+" ", " ")
				if known, ok = help(span[1] + " " + sub); !ok {
					t.Errorf("%s: wick %s has no command %q", page, span[1], sub)
					continue
				}
			}
			if missing := missingFlags(known, span[2]); missing != nil {
				t.Errorf("%s: wick %s has no %q", page, span[1], missing)
			}
		}
	}
	if named == 0 {
		t.Error("no page names a command")
	}
}

// TestPicture compares the README's picture with the script that makes it: the picture shows the
// script's commands, and wick has those it runs.
func TestPicture(t *testing.T) {
	t.Parallel()
	const path = "cmd/wick/run.svg"
	var text [3]string
	for i, name := range []string{path, "README.md", "scripts/picture"} {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text[i] = string(content)
	}
	picture, readme, script := text[0], text[1], text[2]
	if !strings.Contains(readme, "]("+path+")") {
		t.Errorf("README.md does not show %s", path)
	}
	if n := len(picture); n > 100<<10 {
		t.Errorf("%s has %d bytes, and shall have 100 KiB at the most", path, n)
	}
	_, commands, _ := strings.Cut(script, "<<'COMMANDS'\n")
	commands, _, ok := strings.Cut(commands, "COMMANDS\n")
	if !ok {
		t.Fatal("scripts/picture has no commands between <<'COMMANDS' and COMMANDS")
	}
	shown := regexp.MustCompile(`fill="[^"]+">([^<]+)</tspan>`).FindAllStringSubmatch(picture, -1)
	help := wickHelp(t)
	named := 0
	for command := range strings.Lines(commands) {
		command = strings.TrimSuffix(command, "\n")
		command, hidden := strings.CutPrefix(command, "! ")
		if !hidden && !slices.ContainsFunc(shown, func(m []string) bool { return html.UnescapeString(m[1]) == command }) {
			t.Errorf("the picture does not show %q: run scripts/picture", command)
		}
		m := regexp.MustCompile(`wick ([a-z]+)(.*)`).FindStringSubmatch(command)
		if m == nil {
			continue
		}
		named++
		if known, ok := help(m[1]); !ok {
			t.Errorf("the picture's %q: there is no such command", command)
		} else if missing := missingFlags(known, m[2]); missing != nil {
			t.Errorf("the picture's %q: there is no %q", command, missing)
		}
	}
	if named == 0 {
		t.Error("the picture shows no command of wick")
	}
}

// TestMissingFlags checks that missingFlags finds what is wrong, and nothing else.
func TestMissingFlags(t *testing.T) {
	const help = "  -i, --interactive   pass stdin on\n  -t, --tty\n      --mem MiB\n"
	for args, want := range map[string]string{
		" -it --mem 256 -- sh -c x": "",
		" --mem=256 -i --":          "",
		" -ix --memory 1":           "-x --memory",
		" --":                       "",
		" --me":                     "--me",
	} {
		if got := strings.Join(missingFlags(help, args), " "); got != want {
			t.Errorf("%q: %q, want %q", args, got, want)
		}
	}
}

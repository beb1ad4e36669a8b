package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// ruleDocuments has the files that state the rules, each after its name in brackets.
var ruleDocuments = []string{"main.go", "../../framing/doc.go", "../../framing/extension.md"}

var ruleName = regexp.MustCompile(`(?m)^(?://   )?- \[([a-z]+\.[a-z-]+)\] `)

// shownElsewhere has the rules that no transcript can show. by is the test that shows the rule: the
// directory of its package, and its name.
var shownElsewhere = []struct{ rule, by string }{
	{"transport.dial", "cmd/wick/internal/guesttest TestMachine"},
	{"transport.listen", "cmd/wick/internal/guesttest TestMachine"},
	{"transport.peer", "cmd/wick/internal/guesttest TestTrouble"},
	{"frame.texts", "framing TestPageLayouts"},
	{"hello.names", "framing/client TestHello"},
	{"stats.names", "framing/client TestHello"},
	{"list.names", "framing/client TestListNames"},
	{"list.figures", "cmd/wick/internal/guesttest TestMachine"},
	{"exited.killed", "cmd/wick/internal/guesttest TestMachine"},
	{"exited.victim", "cmd/wick/internal/guesttest TestEvidence"},
	{"exited.io", "cmd/wick/internal/guesttest TestEvidence"},
	{"kernel.lost", "reactor/agent/internal/evidence TestLost"},
	{"file.frozen", "reactor/agent/internal/files TestFreezeWrites"},
	{"freeze.ends", "reactor/agent TestThawByItself"},
	{"freeze.busy", "reactor/agent/internal/machine TestFreezing"},
	{"freeze.cancel", "reactor/agent/internal/machine TestFreezing"},
	{"freeze.writes", "reactor/agent/internal/files TestFreezeWrites"},
	{"freeze.unnamed", "cmd/wick/internal/guesttest TestMachine"},
	{"identity.told", "reactor/agent/internal/machine TestIdentity"},
	{"identity.frozen", "reactor/agent TestIdentityFrozen"},
	{"restore.thaw", "reactor/agent TestRestoreThaws"},
	{"restore.seen", "reactor/agent/internal/machine TestRestored"},
	{"restore.once", "reactor/agent/internal/machine TestRestoresSeen"},
	{"power.how", "cmd/wick/internal/guesttest TestMachine"},
	{"power.end", "cmd/wick/internal/guesttest TestMachine"},
	{"power.busy", "cmd/wick/internal/guesttest TestMachine"},
	{"write.flags", "framing TestPageLayouts"},
	{"configure.wait", "cmd/wick/internal/guesttest TestConfigureLate"},
	{"workload.held", "reactor/agent/internal/workload TestFlood"},
	{"disk.mount", "cmd/wick/internal/guesttest TestDisks"},
	{"disk.wait", "cmd/wick/internal/guesttest TestDisks"},
	{"disk.partly", "reactor/agent/internal/disks TestWork"},
	{"disk.unmount", "cmd/wick/internal/guesttest TestDisks"},
	{"disk.busy", "cmd/wick/internal/guesttest TestDisks"},
	{"disk.lazy", "cmd/wick/internal/guesttest TestDisks"},
	{"disk.trim", "cmd/wick/internal/guesttest TestDisks"},
	{"disk.grow", "cmd/wick/internal/guesttest TestDisks"},
	{"disk.root", "cmd/wick/internal/guesttest TestDisks"},
	{"disk.show", "cmd/wick/internal/guesttest TestDisks"},
	{"disk.limits", "reactor/agent/internal/disks TestLimits"},
	{"disk.gone", "reactor/agent/internal/disks TestGone"},
	{"workload.again", "reactor/agent/internal/workload TestAttached"},
	{"watch.look", "reactor/agent/internal/watch TestOverflow"},
	{"services.facts", "reactor/agent/internal/workload TestMessages"},
	{"services.control", "reactor/agent/internal/workload TestMessages"},
	{"services.watch", "reactor/agent/internal/workload TestMessages"},
	{"services.down", "reactor/agent/internal/workload TestMessages"},
}

// TestCoverage checks that every rule has a unique name, and that a transcript or another test
// shows it. It checks that transcripts name only rules that exist. With -v it lists the cases of
// each rule.
func TestCoverage(t *testing.T) {
	t.Parallel()
	shown := map[string][]string{} // by rule
	var rules []string
	for _, document := range ruleDocuments {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ruleName.FindAllStringSubmatch(string(text), -1) {
			if slices.Contains(rules, m[1]) {
				t.Errorf("%s: there are two rules [%s]", document, m[1])
			}
			rules = append(rules, m[1])
		}
	}
	seen := map[string]bool{}
	for _, c := range transcripts(t) {
		id := strings.TrimSuffix(c.file, ".txt") + ": " + c.name
		if seen[id] {
			t.Errorf("%s:%d: there are two cases %q", c.file, c.line, c.name)
		}
		seen[id] = true
		for _, rule := range c.rules {
			if !slices.Contains(rules, rule) {
				t.Errorf("%s:%d: %q names [%s], which is no rule of %v", c.file, c.line, c.name, rule, ruleDocuments)
			}
			shown[rule] = append(shown[rule], id)
		}
	}
	for _, e := range shownElsewhere {
		dir, test, _ := strings.Cut(e.by, " ")
		if !slices.Contains(rules, e.rule) {
			t.Errorf("shownElsewhere has [%s], which is no rule", e.rule)
		}
		if !hasTest(t, "../../"+dir, test) {
			t.Errorf("[%s] is to be shown by %s, which does not exist", e.rule, e.by)
		}
		shown[e.rule] = append(shown[e.rule], e.by)
	}
	for _, rule := range rules {
		if len(shown[rule]) == 0 {
			t.Errorf("[%s] is shown by no transcript and no line of shownElsewhere", rule)
		}
		t.Logf("[%s]\n\t%s", rule, strings.Join(shown[rule], "\n\t"))
	}
}

// hasTest reports whether the tests of a package have a function of that name.
func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(t *testing.T)") {
			return true
		}
	}
	return false
}

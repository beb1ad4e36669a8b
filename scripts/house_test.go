// Package scripts_test checks rules about the module as a whole, which belong to no package of it.
// The tests are here beside the script that runs all tests.
package scripts_test

import (
	"bytes"
	"go/ast"
	"go/build"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// guestCommands run in a guest; guestPackages are the packages they are made of.
var (
	guestCommands = []string{"./cmd/vsock-agent", "./cmd/vm-init"}
	guestPackages = []string{
		"framing", "reactor", "reactor/agent",
		"reactor/agent/internal/sys", "reactor/agent/internal/log",
		"reactor/agent/internal/wire", "reactor/agent/internal/contain",
		"reactor/agent/internal/link", "reactor/agent/internal/launch",
		"reactor/agent/internal/files", "reactor/agent/internal/etc", "reactor/agent/internal/command",
		"reactor/agent/internal/session", "reactor/agent/internal/machine",
		"reactor/agent/internal/network", "reactor/agent/internal/forward",
		"reactor/agent/internal/workload", "reactor/agent/internal/configure",
		"reactor/agent/internal/evidence", "reactor/agent/internal/disks",
		"reactor/agent/internal/hotplug", "reactor/agent/internal/watch",
		"reactor/agent/internal/initctl",
		"sysinit", "cmd/vsock-agent", "cmd/vm-init",
	}
)

// TestMain runs the tests in the module's root.
func TestMain(m *testing.M) {
	if err := os.Chdir(".."); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func goList(t *testing.T, arch string, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// goFiles calls f for every Go file of the module that git would list: none that is hidden or
// built.
func goFiles(t *testing.T, f func(path string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || path == "dist") {
			return filepath.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(path, ".go") {
			f(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFormatted(t *testing.T) {
	goFiles(t, func(path string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		formatted, err := format.Source(text)
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(text, formatted) {
			t.Errorf("%s: run gofmt -w on it", path)
		}
	})
}

// longestRoom is how many lines of Go a room of the agent may have without its tests, and the agent
// itself.
const (
	longestRoom  = 2500
	longestAgent = 1500
)

func TestRoomSizes(t *testing.T) {
	lines := map[string]int{}
	goFiles(t, func(path string) {
		if dir := filepath.Dir(path); strings.HasPrefix(dir, "reactor/agent") && !strings.HasSuffix(path, "_test.go") {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			lines[dir] += bytes.Count(text, []byte("\n"))
		}
	})
	for dir, n := range lines {
		most := longestRoom
		if dir == "reactor/agent" {
			most = longestAgent
		}
		if n > most {
			t.Errorf("%s has %d lines of Go, want at most %d: divide it", dir, n, most)
		}
	}
}

// longest is how many lines a Go file may have. A longer file has more than one concern. A short
// file is fine if it has one.
const longest = 450

func TestFileSizes(t *testing.T) {
	goFiles(t, func(path string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(text, []byte("\n")); n > longest {
			t.Errorf("%s has %d lines, and no file may have more than %d: split it by its concerns", path, n, longest)
		}
	})
}

// banned has the packages that a guest's binary must not contain. Each has its size in a static,
// stripped binary that otherwise has golang.org/x/sys/unix alone (1316 KB; Go 1.26, amd64), and why
// it is not needed. Other packages are banned too unless allowed has them.
var banned = map[string]string{
	"net":              "656 KB: a second poller, a resolver, goroutines; sockets are golang.org/x/sys/unix",
	"net/http":         "4392 KB: there is no HTTP in the guest",
	"os":               "144 KB: its files come with a poller and finalizers; files are golang.org/x/sys/unix",
	"os/exec":          "372 KB: goroutines per command, and it waits for children behind the reaper's back; reactor spawns",
	"os/signal":        "88 KB: a goroutine and a thread of its own; reactor has signals as a descriptor",
	"os/user":          "300 KB: parses /etc/passwd; uid numbers do",
	"fmt":              "232 KB: reflection; strconv and + do",
	"log":              "288 KB: fmt, and a mutex",
	"log/slog":         "688 KB: fmt, reflection, JSON; the guest's lines are made by hand",
	"encoding/json":    "488 KB: the wire is binary",
	"context":          "108 KB: cancelling is for goroutines, and there is one",
	"path/filepath":    "60 KB: comes with os; paths are bytes here",
	"io/fs":            "nothing by itself, but what would use it is os",
	"text/template":    "1392 KB, and it turns off the linker's dead code elimination of methods",
	"text/tabwriter":   "248 KB: the guest prints no tables",
	"regexp":           "320 KB: nothing in the guest is matched",
	"bufio":            "nothing by itself, but it allocates its own buffers beside the free list",
	"flag":             "312 KB: fmt and reflection; a handful of flags are parsed by hand",
	"runtime/debug":    "68 KB: comes with os; runtime does for stacks, see reactor",
	"runtime/pprof":    "520 KB: compress/gzip and text/tabwriter; profile the benchmarks instead",
	"math/big":         "152 KB: no such numbers",
	"math/rand":        "16 KB: names that must be unique come from the pid and a counter",
	"crypto/rand":      "244 KB: nothing secret is made in the guest",
	"unicode/utf16":    "what would use it is encoding/json",
	"compress/gzip":    "nothing is compressed on the wire",
	"internal/poll":    "the runtime's poller; reactor's is the only one",
	"internal/testlog": "comes with os",
}

// allowed has the packages that are worth their size, beside ours and those that
// golang.org/x/sys/unix needs.
var allowed = map[string]string{
	"container/heap": "1 KB: the timers",
}

// bannedDirectly has packages that are in the binary anyway, because golang.org/x/sys/unix needs
// them. How much of them is linked depends on what is called.
var bannedDirectly = map[string]string{
	"reflect":         "120 KB, and methods that are looked up by name keep all methods alive",
	"encoding/binary": "0 KB for its byte orders, but its Read and Write reflect; framing has its own byte order",
	"sync":            "there is one goroutine, so there is nothing to lock",
	"sort":            "slices does it without an interface and its allocations",
}

// TestGuestImports checks what the guest's commands import: it keeps them small and on one
// goroutine.
func TestGuestImports(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		needed := map[string]bool{}
		for _, p := range goList(t, arch, "-deps", "golang.org/x/sys/unix") {
			needed[p] = true
		}
		for _, command := range guestCommands {
			for _, line := range goList(t, arch, "-deps", "-f", `{{.ImportPath}} {{join .Imports " "}}`, command) {
				p, imports, _ := strings.Cut(line, " ")
				ours := strings.HasPrefix(p, "wick/")
				if !ours && !needed[p] && allowed[p] == "" {
					reason := banned[p]
					if reason == "" {
						reason = "it is in no list of house_test.go: what does it cost, and does it pay?"
					}
					t.Errorf("%s on %s has %s: %s", command, arch, p, reason)
				}
				for _, imported := range strings.Fields(imports) {
					if reason := bannedDirectly[imported]; ours && reason != "" {
						t.Errorf("%s imports %s: %s", p, imported, reason)
					}
				}
			}
		}
	}
}

// mayImport has the packages of this module that each package may import. A package that is not in
// it is matched by the longest prefix that ends in /... ; * is anything but bench.
var mayImport = map[string][]string{
	"wick/framing":        {},
	"wick/framing/client": {"wick/framing"},
	// containerd's runtime boots machines as other programs do.
	"wick/cmd/containerd-shim-wick-v1": {"wick/cmd/wick/machine", "wick/framing", "wick/framing/client"},
	// Guests for tests of hosts.
	"wick/framing/client/clienttest": {"wick/framing", "wick/framing/wiretest"},
	"wick/reactor":                   {},
	"wick/reactor/leaktest":          {},
	// The agent puts its rooms together. From the ground up, each room may import those before it.
	"wick/reactor/agent":                  {"wick/framing", "wick/reactor", room("...")},
	"wick/reactor/agent/internal/sys":     {},
	"wick/reactor/agent/internal/log":     {room("sys")},
	"wick/reactor/agent/internal/wire":    {"wick/framing", "wick/reactor", room("log"), room("sys")},
	"wick/reactor/agent/internal/contain": {"wick/reactor", room("log"), room("sys")},
	"wick/reactor/agent/internal/link":    {"wick/reactor", room("log"), room("sys")},
	"wick/reactor/agent/internal/launch": {
		"wick/framing", "wick/reactor", room("contain"), room("log"), room("sys"),
	},
	// launch for its jobs: a sync of a file is one.
	"wick/reactor/agent/internal/files": {
		"wick/framing", "wick/reactor", room("launch"), room("log"), room("sys"), room("wire"),
	},
	// files for spool files, and for what is to be done while the disk is held.
	"wick/reactor/agent/internal/command": {
		"wick/framing", "wick/reactor", room("files"), room("launch"), room("log"), room("sys"), room("wire"),
	},
	"wick/reactor/agent/internal/session": {
		"wick/framing", "wick/reactor", room("contain"), room("launch"), room("log"), room("sys"), room("wire"),
	},
	// etc and network for the identity of a clone: names, addresses, connections.
	"wick/reactor/agent/internal/machine": {
		"wick/framing", "wick/reactor", room("contain"), room("etc"), room("launch"), room("log"),
		room("network"), room("sys"), room("wire"),
	},
	// files for the directory of a socket, and for what is to be done while the disk is held.
	"wick/reactor/agent/internal/forward": {
		"wick/framing", "wick/reactor", room("files"), room("log"), room("sys"), room("wire"),
	},
	// files for a content that is opened safely.
	"wick/reactor/agent/internal/etc": {room("files"), room("sys")},
	// files for what is held while the disk is frozen.
	"wick/reactor/agent/internal/network": {
		"wick/framing", room("etc"), room("files"), room("log"), room("sys"), room("wire"),
	},
	"wick/reactor/agent/internal/disks": {
		"wick/framing", "wick/reactor", room("files"), room("launch"), room("log"), room("sys"), room("wire"),
	},
	"wick/reactor/agent/internal/initctl": {"wick/reactor", room("log"), room("sys")},
	"wick/reactor/agent/internal/hotplug": {"wick/reactor", room("launch"), room("log"), room("sys")},
	// files for a path that is opened safely.
	"wick/reactor/agent/internal/watch": {
		"wick/framing", "wick/reactor", room("files"), room("log"), room("sys"), room("wire"),
	},
	// Tests of the agent and of its rooms share it, and only they import it. It is above the rooms
	// that a test's room is made of, and below those that it tests.
	"wick/reactor/agent/internal/roomtest": {
		"wick/framing", "wick/framing/wiretest", "wick/reactor", room("contain"), room("launch"), room("log"), room("sys"), room("wire"),
	},
	// launch for its job, which writes the file of last words.
	"wick/reactor/agent/internal/evidence": {
		"wick/framing", "wick/reactor", room("launch"), room("log"), room("sys"), room("wire"),
	},
	// session, because a workload is a session that no host has started.
	"wick/reactor/agent/internal/workload": {
		"wick/framing", "wick/reactor", room("launch"), room("log"), room("session"), room("sys"),
		room("wire"),
	},
	// launch for the environment of commands, and for the owner of a file.
	"wick/reactor/agent/internal/configure": {
		"wick/framing", "wick/reactor", room("launch"), room("log"), room("sys"), room("wire"),
	},
	"wick/sysinit": {},
	// The codec of the tests, which shares no code with framing.
	"wick/framing/wiretest": {},
	// sysinit for the text of options, which both programs take from a host.
	"wick/cmd/vsock-agent": {"wick/reactor/agent", "wick/sysinit"},
	"wick/cmd/vm-init":     {"wick/sysinit", "wick/reactor/agent"},
	"wick/cmd/wick/...":    {"wick/framing", "wick/framing/client", "wick/cmd/wick/..."},
	// The rooms of the tool that know neither machines nor its commands, from the ground up.
	"wick/cmd/wick/internal/exit":       {"wick/framing/client"},
	"wick/cmd/wick/internal/terminal":   {"wick/framing/client"},
	"wick/cmd/wick/internal/units":      {},
	"wick/cmd/wick/internal/output":     {tool("exit")},
	"wick/cmd/wick/internal/figures":    {tool("output")},
	"wick/cmd/wick/internal/accounts":   {"wick/framing/client"},
	"wick/cmd/wick/internal/copying":    {"wick/framing/client", tool("accounts"), tool("archive"), tool("exit"), tool("output"), tool("terminal")},
	"wick/cmd/wick/internal/forwarding": {"wick/framing/client", tool("exit"), tool("output")},
	"wick/cmd/wick/internal/help":       {tool("exit"), tool("terminal")},
	"wick/bench/...":                    {"*", "wick/bench/..."},
	"wick/scripts":                      {"wick/framing/client/clienttest"},
}

// room returns the import path of a room of the agent.
func room(name string) string { return "wick/reactor/agent/internal/" + name }

// tool returns the import path of a room of the host's tool.
func tool(name string) string { return "wick/cmd/wick/internal/" + name }

func matches(pattern, p string) bool {
	if pattern == "*" {
		return !matches("wick/bench/...", p)
	}
	if prefix, ok := strings.CutSuffix(pattern, "/..."); ok {
		return p == prefix || strings.HasPrefix(p, prefix+"/")
	}
	return p == pattern
}

// TestImportDirection keeps the packages in order: host and guest share framing alone, and nothing
// imports bench.
func TestImportDirection(t *testing.T) {
	for _, line := range goList(t, "amd64", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...") {
		p, imports, _ := strings.Cut(line, " ")
		var may []string
		known := p == "wick" // the module's root, which has tests and nothing else
		longest := ""
		for pattern, list := range mayImport {
			if matches(pattern, p) && len(pattern) > len(longest) {
				may, known, longest = list, true, pattern
			}
		}
		if !known {
			t.Errorf("%s has no place in mayImport", p)
		}
		for _, imported := range strings.Fields(imports) {
			if !strings.HasPrefix(imported, "wick/") {
				continue
			}
			if !slices.ContainsFunc(may, func(pattern string) bool { return matches(pattern, imported) }) {
				t.Errorf("%s imports %s; of ours it may import %q", p, imported, may)
			}
		}
	}
}

// TestOneGoroutine checks that the guest's source has no go statement, channel or lock, and prints
// no floating-point numbers. It skips files that no guest builds (the fallback for signals on other
// architectures).
func TestOneGoroutine(t *testing.T) {
	for _, dir := range guestPackages {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Errorf("%s has no Go files: %v", dir, err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") || !builtInGuests(t, path) {
				continue
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				what, why := "", "everything in the guest is on one goroutine"
				switch n := n.(type) {
				case *ast.GoStmt:
					what = "a go statement"
				case *ast.ChanType:
					what = "a channel"
				case *ast.SelectStmt:
					what = "a select"
				case *ast.SelectorExpr:
					if x, ok := n.X.(*ast.Ident); ok && x.Name == "sync" {
						what = "sync." + n.Sel.Name
					}
					if n.Sel.Name == "FormatFloat" || n.Sel.Name == "AppendFloat" {
						what, why = n.Sel.Name, "scripts/_std prints the whole part alone"
					}
				}
				if what != "" {
					t.Errorf("%s: %s: %s", set.Position(n.Pos()), what, why)
				}
				return true
			})
		}
	}
}

func builtInGuests(t *testing.T, path string) bool {
	for _, arch := range []string{"amd64", "arm64"} {
		ctx := build.Default
		ctx.GOOS, ctx.GOARCH, ctx.CgoEnabled = "linux", arch, false
		ok, err := ctx.MatchFile(filepath.Dir(path), filepath.Base(path))
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			return true
		}
	}
	return false
}

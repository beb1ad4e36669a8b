package main

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"wick/sysinit"
)

// TestConfigurationPage holds the page's list of options to the table.
func TestConfigurationPage(t *testing.T) {
	page, err := os.ReadFile("configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, options, _ := strings.Cut(usage(), "\n\n")
	_, options, _ = strings.Cut(options, "\n\n")
	if !strings.Contains(string(page), "```text\n"+options+"```\n") {
		t.Errorf("configuration.md lacks the options as --help prints them:\n%s", options)
	}
}

// TestCheck checks a text with and without a fault.
func TestCheck(t *testing.T) {
	path := t.TempDir() + "/conf"
	for text, want := range map[string]string{
		"hostname=web\nmax-commands=3\n": "",
		"command-user=app\ncommand-limit=core=0\nworkload-wait=configure\nsecret=A=hidden\n": path + " line 4: secret: a secret comes from the host alone (wick secret set)\n",
		"hostname=web\nmax-commands=no\nvsock-listen=off\n":                                  path + " line 2: max-commands no: \"no\" is not a number from 1 to 65536\n",
		"service.a.command=a\nservice.b.restart=no\nworkload=w\nservice.a.after=a\nservice.a.env=A=1\nservice.a.restart=x\n": path + " line 6: service.a.restart: not no, on-failure or always\n" +
			path + " line 4: service.a.after: the service would have to start before itself\n" +
			path + " line 2: service.b.command: the service has no command\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, code := check(path)
		if got != want || (code != 0) != (want != "") {
			t.Errorf("check(%q) = %q, %d, want %q", text, got, code, want)
		}
	}
	if _, code := check(path + "/none"); code != 1 {
		t.Errorf("check of no file = %d, want 1", code)
	}
}

// TestHostOptions checks which options a host can set. Every other one is refused with a reason,
// because it has no effect any more.
func TestHostOptions(t *testing.T) {
	m := machine{cfg: sysinit.Default()}
	s := m.newSettings()
	s.Live = []sysinit.Option{{Name: "--hostname", Value: "NAME", Set: func(string) error { return nil }}}
	var can []string
	for _, o := range append(m.cfg.Options(), m.options()...) {
		errs := s.Text(sysinit.FromHost, "host", []byte(o.Name+"=x"))
		if e, ok := errors.AsType[*sysinit.OptionError](errors.Join(errs...)); !ok || !strings.HasPrefix(e.Reason, "a host ") {
			can = append(can, o.Name[2:])
		}
	}
	want := strings.Fields(`hostname end log-level max-spool max-spool-total max-exits
		command-user command-dir command-env command-env-only command-umask command-limit secrets-forget
		workload workload-user workload-dir workload-env workload-restart workload-tries workload-wait workload-end
		workload-console workload-stop workload-after workload-ready workload-watchdog workload-limit
		workload-terminal
		workload-cap-drop workload-cap-add workload-no-new-privs workload-read-only workload-read-only-path workload-mask
		workload-mount-tmpfs workload-root-dir workload-pid workload-network workload-ipc workload-uts workload-seccomp
		service.`)
	if !slices.Equal(can, want) {
		t.Errorf("a host can set %q, want %q", can, want)
	}
}

// TestConfigureServices has a host configure services that can never be started. The answer names
// the lines of this text that are to blame, and no line of an earlier one.
func TestConfigureServices(t *testing.T) {
	m := machine{cfg: sysinit.Default(), root: &sysinit.Root{}}
	m.settings = m.newSettings()
	m.settings.Text(sysinit.FromDrive, "drive", []byte("service.db.command=db\nservice.db.after=web"))
	for _, step := range []struct{ text, want string }{
		{"# web\nservice.web.command=web\nservice.web.after=cache\nmax-exits=x", `4 max-exits x: "x" is not a number from 1 to 65536
3 service.web.after: no service is named cache
`},
		{"max-exits=8", ""},
		{"service.web.after=db", "1 service.web.after: the service would have to start before itself\n"},
		{"service.cache.restart=no", "1 service.cache.command: the service has no command\n"},
		{"service.cache.command=cache\nservice.web.after=cache\n", ""},
	} {
		got := ""
		m.configure([]byte(step.text), func(line int, reason string) { got += strconv.Itoa(line) + " " + reason + "\n" })
		if got != step.want {
			t.Errorf("configure(%q) finds %q, want %q", step.text, got, step.want)
		}
	}
	if errs := m.checkServices(); len(errs) > 0 {
		t.Errorf("after that %v", errs)
	}
}

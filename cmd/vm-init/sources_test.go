package main

import (
	"slices"
	"strings"
	"testing"

	"wick/sysinit"
)

// sources are the sources in the order in which vm-init reads them, with what each sets.
var sources = []struct {
	from  sysinit.Source
	where string
}{
	{sysinit.FromKernel, "the kernel's command line"},
	{sysinit.FromDrive, "drive line 1"},
	{sysinit.FromImage, "image line 1"},
	{sysinit.FromHost, "host line 1"},
}

// values has two values of each option. Both set the same name if the option may set several.
var values = map[string][2]string{
	"base": {"/dev/vdx", "/dev/vdy"}, "root": {"rw", "overlay"}, "overlay": {"/dev/vdx", "tmpfs"}, "config": {"/dev/vdx", "/dev/vdy"},
	"hostname": {"a", "b"}, "wait": {"1", "2"}, "tmpfs-size": {"1m", "2m"}, "run-size": {"1m", "2m"}, "shm-size": {"1m", "2m"},
	"mount": {"a:/data:tmpfs", "b:/data:tmpfs"}, "swap": {"/dev/vdx", "/dev/vdx,format=empty"}, "grow": {"yes", "no"},
	"modules": {"a", "b"}, "sysctl": {"vm.a=1", "vm.a=2"}, "timezone": {"UTC", "Europe/Berlin"},
	"end": {"halt", "poweroff"}, "last-words": {"off", "/last"}, "vsock-dial": {"off", "2:1"}, "vsock-listen": {"off", "1"},
	"log-level": {"warn", "debug"}, "max-connections": {"1", "2"}, "max-commands": {"1", "2"}, "max-pids": {"1", "2"},
	"max-spool": {"1", "2"}, "max-spool-total": {"1", "2"}, "max-kept": {"1", "2"}, "max-exits": {"1", "2"}, "max-watches": {"1", "2"},
	"restore-command": {"a", "sh:b"}, "restore-timeout": {"1", "2"}, "restore-signal": {"HUP", "USR1"},
	"command-user": {"a", "b"}, "command-dir": {"/a", "/b"}, "command-env": {"A=1", "A=2"}, "command-env-only": {"yes", "no"},
	"command-umask": {"022", "077"}, "command-limit": {"core=1", "core=0"}, "secrets-forget": {"restore", "no"},
	"workload": {"a", "b"}, "workload-user": {"a", "b"}, "workload-dir": {"/a", "/b"}, "workload-env": {"A=1", "A=2"},
	"workload-restart": {"always", "no"}, "workload-tries": {"1", "0"}, "workload-wait": {"host", "no"}, "workload-end": {"machine", "no"},
	"workload-console": {"yes", "no"}, "workload-stop": {"HUP", "INT:3"}, "workload-after": {"a", "b"}, "workload-ready": {"end", "start"},
	"workload-watchdog": {"1", "0"}, "workload-limit": {"pids=1", "pids=2"}, "workload-terminal": {"yes", "no"},
	"workload-cap-drop": {"ALL", "ALL"}, "workload-cap-add": {"CHOWN", "CHOWN"}, "workload-no-new-privs": {"yes", "no"},
	"workload-read-only": {"yes", "no"}, "workload-read-only-path": {"/a", "/a"}, "workload-mask": {"/a", "/a"},
	"workload-mount-tmpfs": {"/a", "/a"}, "workload-root-dir": {"/a", "/b"}, "workload-pid": {"private", "no"},
	"workload-network": {"private", "no"}, "workload-ipc": {"private", "no"}, "workload-uts": {"private", "no"},
	"workload-seccomp": {"/a", "/b"}, "service.a.console": {"yes", "no"},
	"net": {"a", "b"}, "dns": {"10.0.0.1", "10.0.0.2"}, "search": {"a", "b"},
}

// TestSources sets each option from each two sources. The higher one wins, and each source that
// cannot set an option says why.
func TestSources(t *testing.T) {
	t.Parallel()
	m := machine{cfg: sysinit.Default()}
	early := m.cfg.Options()
	var names []string
	for _, o := range append(early, m.options()...) {
		name := o.Name[2:]
		if name == "service." {
			name = "service.a.console"
		}
		names = append(names, name)
		if _, ok := values[name]; !ok {
			t.Errorf("values has none for %s: add two of them", name)
		}
		isSwitch := values[name] == [2]string{"yes", "no"} && name != "workload-terminal"
		if isSwitch != (o.Value == "") && name != "service.a.console" {
			t.Errorf("%s: a switch has no value in the table, and is yes or no", name)
		}
	}
	for name := range values {
		if !slices.Contains(names, name) {
			t.Errorf("no option is named %s", name)
		}
	}
	for i, name := range names {
		for low := range sources {
			for high := range sources {
				if sources[low].from < sources[high].from {
					testSources(t, name, i < len(early), low, high)
				}
			}
		}
	}
}

// testSources sets an option from two of the sources.
func testSources(t *testing.T, name string, early bool, low, high int) {
	t.Helper()
	m := machine{cfg: sysinit.Default()}
	var set []string
	record := func(table []sysinit.Option) []sysinit.Option {
		for i := range table {
			o := &table[i]
			check := o.Set
			o.Set = func(value string) error {
				set = append(set, value)
				return check(value)
			}
		}
		return table
	}
	s := sysinit.NewSettings(record(m.cfg.Options()), record(m.options()))
	s.Refuse = refuse
	refused := func(from sysinit.Source) bool {
		early := early && (from == sysinit.FromImage || from == sysinit.FromHost)
		return early || refuse(from, name) != ""
	}
	for i, source := range sources {
		value := values[name][0]
		switch i {
		case high:
			value = values[name][1]
		case low:
		default:
			continue
		}
		var err error
		if source.from == sysinit.FromKernel {
			_, err = s.Words([]string{"--" + name + "=" + value})
		} else {
			text, _, _ := strings.Cut(source.where, " ")
			for _, e := range s.Text(source.from, text, []byte(name+"="+value)) {
				err = e
			}
		}
		if (err != nil) != refused(source.from) {
			t.Errorf("%s=%s by %s: %v; refused %v", name, value, source.where, err, refused(source.from))
		}
	}
	want, value := "", ""
	for _, i := range []int{high, low} {
		if want == "" && !refused(sources[i].from) {
			want, value = sources[i].where, values[name][0]
			if i == high {
				value = values[name][1]
			}
		}
	}
	got := ""
	s.Each(func(_, where string) { got = where })
	if name == "service.a.console" && value != "" {
		value = "a.console=" + value
	}
	if got != want || want != "" && set[len(set)-1] != value {
		t.Errorf("%s by %s and %s: set %q, the last by %q; want %q by %q",
			name, sources[low].where, sources[high].where, set, got, value, want)
	}
}

// FuzzOptions reads a text twice. Each error names a line of it, and the second reading finds the
// same.
func FuzzOptions(f *testing.F) {
	for name, two := range values {
		f.Add(name + "=" + two[0] + "\n" + name + "=" + two[1] + "\n" + name)
	}
	f.Add("service.a.command=a\nservice.a.after=b\nservice.b.command=b\nservice.b.after=a\nservice.c.user=x\nworkload-after=workload")
	f.Fuzz(func(t *testing.T, text string) {
		m := machine{cfg: sysinit.Default()}
		m.settings = m.newSettings()
		read := func() (found []string) {
			errs := m.settings.Text(sysinit.FromDrive, "drive", []byte(text))
			for _, err := range append(errs, m.checkServices()...) {
				e, ok := err.(*sysinit.OptionError)
				if !ok || e.Line < 1 || e.Line > 1+strings.Count(text, "\n") || e.Reason == "" {
					t.Errorf("%q: error %v", text, err)
				}
				found = append(found, err.Error())
			}
			return found
		}
		if first, second := read(), read(); !slices.Equal(first, second) {
			t.Errorf("%q: errors %q, and then %q", text, first, second)
		}
	})
}

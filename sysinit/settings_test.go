//go:build linux

package sysinit

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// settingsOf returns settings of a Config and of two late options, which store into values.
func settingsOf(c *Config, values map[string]string) *Settings {
	store := func(name string) Option {
		return Option{Name: name, Value: "VALUE", Set: func(v string) error {
			if v == "bad" {
				return valueError("not good")
			}
			values[name] = v
			return nil
		}}
	}
	return NewSettings(c.Options(), []Option{store("--level"), store("--name")})
}

func TestSettingsText(t *testing.T) {
	c, values := Default(), map[string]string{}
	s := settingsOf(&c, values)
	const text = `
# a comment
hostname = web
--level=2
 name = "  two  blanks "
unknown=1
level=bad
wait
name="open
base=vda
` + "\r\n\x00level=9\n"
	var got []string
	for _, err := range s.Text(FromDrive, "/dev/vdc", []byte(text)) {
		got = append(got, err.Error())
	}
	want := []string{
		"/dev/vdc line 6: unknown: unknown option",
		"/dev/vdc line 7: level bad: not good",
		"/dev/vdc line 8: wait: needs a value: SECONDS",
		`/dev/vdc line 9: name "open: the quotes are not closed`,
		"/dev/vdc line 10: base vda: not the absolute path of a device",
	}
	if !slices.Equal(got, want) {
		t.Errorf("errors:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if c.Hostname != "web" || values["--level"] != "2" || values["--name"] != "  two  blanks " || c.Base != "/dev/vda" {
		t.Errorf("hostname %q, base %q, %q", c.Hostname, c.Base, values)
	}
}

// TestSettingsOrder has each source set an option. The highest source wins, whenever it is read.
func TestSettingsOrder(t *testing.T) {
	c, values := Default(), map[string]string{}
	s := settingsOf(&c, values)
	if _, err := s.Words([]string{"--level=kernel", "--hostname", "kernel"}); err != nil {
		t.Fatal(err)
	}
	if errs := s.Text(FromDrive, "drive", []byte("level=drive\nname=drive\nhostname=drive\nname=again")); errs != nil {
		t.Fatal(errs)
	}
	errs := s.Text(FromImage, "image", []byte("level=image\nname=image\nhostname=image"))
	if len(errs) != 1 || errs[0].Error() != "image line 3: hostname: the image cannot set it: its root is mounted by then" {
		t.Errorf("the image's errors are %v", errs)
	}
	if values["--level"] != "kernel" || values["--name"] != "again" || c.Hostname != "kernel" {
		t.Errorf("hostname %q, %q", c.Hostname, values)
	}
	var where []string
	s.Each(func(name, from string) { where = append(where, name+" "+from) })
	slices.Sort(where)
	want := []string{"hostname the kernel's command line", "level the kernel's command line", "name drive line 4"}
	if !slices.Equal(where, want) {
		t.Errorf("set by %q, want %q", where, want)
	}
}

// TestSettingsPrefix has sources set options of a prefix, with and without a value.
func TestSettingsPrefix(t *testing.T) {
	var got []string
	s := NewSettings(nil, []Option{{
		Name: "--service.", Value: "NAME", Private: true,
		Set: func(v string) error {
			if v == "bad" {
				return valueError("not good")
			}
			got = append(got, v)
			return nil
		},
		Many: func(v string) string {
			name, _, _ := strings.Cut(v, "=")
			return "service." + name
		},
	}})
	ignored, err := s.Words([]string{"--service.a.b=kernel=1", "--service.a.flag", "word", "--service.bad"})
	if err == nil || err.Error() != "--service.bad: not good" || !slices.Equal(ignored, []string{"word"}) {
		t.Errorf("the command line: ignored %q, error %v", ignored, err)
	}
	errs := s.Text(FromDrive, "drive", []byte("service.a.b=drive\nservice.c.d = \"  two\"\nservice.bad\nservice.e=\"x"))
	if len(errs) != 2 || errs[0].Error() != "drive line 3: service.bad: not good" ||
		errs[1].Error() != "drive line 4: service.e: the quotes are not closed" {
		t.Errorf("the drive's errors are %v", errs)
	}
	if want := []string{"a.b=kernel=1", "a.flag", "c.d=  two"}; !slices.Equal(got, want) {
		t.Errorf("set %q, want %q", got, want)
	}
	for name, want := range map[string]string{
		"service.c.d": "drive line 2", "service.a.none": "the kernel's command line", "service.x.y": "", "none": "",
	} {
		if got, _ := s.Where(name); got != want {
			t.Errorf("Where(%q) = %q, want %q", name, got, want)
		}
	}
}

// TestSettingsMany has sources set names of one option. The highest source wins for each name, and
// no error shows a value.
func TestSettingsMany(t *testing.T) {
	values := map[string]string{}
	s := NewSettings(nil, []Option{{Name: "--env", Value: "NAME=VALUE", Many: func(v string) string { name, _, _ := cut(v); return name }, Private: true, Set: func(v string) error {
		name, value, given := cut(v)
		if !given {
			return valueError("not NAME=VALUE")
		}
		values[name] = value
		return nil
	}}})
	if _, err := s.Words([]string{"--env=A=kernel", "--env=B=kernel"}); err != nil {
		t.Fatal(err)
	}
	_, err := s.Words([]string{"--env=secret"})
	if err == nil || err.Error() != "--env: not NAME=VALUE" {
		t.Errorf("Words of a wrong value: %v", err)
	}
	errs := s.Text(FromDrive, "drive", []byte("env=A=drive\nenv=C= drive \nenv=\"D= a \"\nenv=\"E\"=\"x\"\nenv=\"secret\nenv=secret\n"))
	if len(errs) != 2 || errs[0].Error() != "drive line 5: env: the quotes are not closed" || errs[1].Error() != "drive line 6: env: not NAME=VALUE" {
		t.Errorf("the drive's errors are %v", errs)
	}
	s.Text(FromImage, "image", []byte("env=C=image\nenv=F=image\n"))
	want := map[string]string{"A": "kernel", "B": "kernel", "C": " drive", "D": " a ", `"E"`: `"x"`, "F": "image"}
	if !maps.Equal(values, want) {
		t.Errorf("values %q, want %q", values, want)
	}
	var names []string
	s.Each(func(name, _ string) { names = append(names, name) })
	slices.Sort(names)
	if want := []string{`env."E"`, "env.A", "env.B", "env.C", "env.D", "env.F"}; !slices.Equal(names, want) {
		t.Errorf("names %q, want %q", names, want)
	}
}

// TestSettingsHost has a host set options, before and after other sources. It wins over all of
// them, and cannot set what has its effect at the start.
func TestSettingsHost(t *testing.T) {
	c, values := Default(), map[string]string{}
	s := settingsOf(&c, values)
	s.Live = []Option{{Name: "--hostname", Value: "NAME", Set: func(v string) error { values["live"] = v; return nil }}}
	s.Refuse = func(from Source, name string) string {
		if name == "name" && from == FromHost {
			return AtStart
		}
		return ""
	}
	if _, err := s.Words([]string{"--level=kernel"}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, err := range s.Text(FromHost, "host", []byte("level=host\nhostname=host\n\nname=host\nwait=3\nlevel=again\nlevel=bad")) {
		if e, ok := errors.AsType[*OptionError](err); ok {
			got = append(got, itoa(e.Line)+" "+e.Option+" "+e.Reason)
		}
	}
	if want := []string{"4 name " + AtStart, "5 wait " + AtStart, "7 level not good"}; !slices.Equal(got, want) {
		t.Errorf("the host's errors are %q, want %q", got, want)
	}
	s.Text(FromDrive, "drive", []byte("level=drive\nname=drive"))
	want := map[string]string{"--level": "again", "--name": "drive", "live": "host"}
	if !maps.Equal(values, want) || c.Hostname != "" {
		t.Errorf("hostname %q, %q, want %q", c.Hostname, values, want)
	}
	where := map[string]string{}
	s.Each(func(name, from string) { where[name] = from })
	wantWhere := map[string]string{"level": "host line 6", "hostname": "host line 2", "name": "drive line 2"}
	if !maps.Equal(where, wantWhere) {
		t.Errorf("set by %q, want %q", where, wantWhere)
	}
}

// TestReadDrive reads a drive with a text, and one with a file system.
func TestReadDrive(t *testing.T) {
	inside := enter(t, func(o *outside) {
		o.device("TEXT", o.file("text", append([]byte("hostname=a\n"), make([]byte, 4096)...)), 0)
		o.disk(4, "-E", "lazy_itable_init=1")
		o.device("FULL", o.file("full", []byte(strings.Repeat("x", maxConfig+512))), 0)
	})
	if !inside {
		return
	}
	if text, err := ReadDrive(os.Getenv("TEXT"), 0); err != nil || string(text) != "hostname=a\n" {
		t.Errorf("ReadDrive = %q, %v", text, err)
	}
	if _, err := ReadDrive(os.Getenv("FULL"), 0); err == nil || !strings.Contains(err.Error(), "it holds no text of options") {
		t.Errorf("ReadDrive of a drive without a NUL: %v", err)
	}
	_, err := ReadDrive("/dev/vdz", 0)
	if !errors.Is(err, unix.ENOENT) || !strings.HasPrefix(err.Error(), "configuration: find /dev/vdz: ") {
		t.Errorf("ReadDrive of no drive: %v", err)
	}
	if cwd, err := os.Getwd(); err != nil || cwd != "/" {
		t.Errorf("the working directory is %q, %v, want /", cwd, err)
	}
}

func FuzzSettings(f *testing.F) {
	f.Add([]byte("hostname=a\n#\nlevel=\"b\"\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, values := Default(), map[string]string{}
		s := settingsOf(&c, values)
		for _, err := range append(s.Text(FromDrive, "x", text), s.Text(FromHost, "x", text)...) {
			if !strings.HasPrefix(err.Error(), "x line ") {
				t.Errorf("error %q has no line", err)
			}
		}
	})
}

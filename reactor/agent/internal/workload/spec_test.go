package workload

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// setIn sets an option, "--name=value".
func setIn(s *Spec, option string) error {
	name, value, _ := strings.Cut(option, "=")
	for _, o := range s.Options() {
		if o.Name == name {
			return o.Set(value)
		}
	}
	panic("no option " + name)
}

func parse(t *testing.T, options ...string) (s Spec) {
	t.Helper()
	for _, o := range options {
		if err := setIn(&s, o); err != nil {
			t.Fatalf("%s: %v", o, err)
		}
	}
	return s
}

// parseAll sets options of any service.
func parseAll(t *testing.T, options ...string) *Specs {
	t.Helper()
	var l Specs
	for _, o := range options {
		if err := l.setIn(o); err != nil {
			t.Fatalf("%s: %v", o, err)
		}
	}
	return &l
}

// setIn sets an option, "--name=value", as package sysinit does.
func (l *Specs) setIn(option string) error {
	for _, o := range l.Options() {
		if rest, ok := strings.CutPrefix(option, prefix); ok && o.Name == prefix {
			return o.Set(rest)
		}
		if name, value, _ := strings.Cut(option, "="); o.Name == name {
			return o.Set(value)
		}
	}
	panic("no option " + option)
}

func TestCommand(t *testing.T) {
	t.Parallel()
	for value, want := range map[string][]string{
		"/srv/app":                    {"/srv/app"},
		"  /srv/app\t--flag  x ":      {"/srv/app", "--flag", "x"},
		`"/srv/my app" a" b"c "" "x"`: {"/srv/my app", "a bc", "", "x"},
		`sh`:                          {"sh"},
		`sh: a "b`:                    {"sh", "-c", ` a "b`},
	} {
		s := parse(t, "--workload="+value)
		got := []string{}
		if s.command.shell {
			got = append(got, "sh", "-c")
		}
		for word := range s.command.words.All {
			got = append(got, string(word))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s is %q, want %q", value, got, want)
		}
	}
}

func TestWrongOptions(t *testing.T) {
	t.Parallel()
	for option, want := range map[string]string{
		"--workload=":                 "no command",
		"--workload= \t":              "no command",
		`--workload=a "b`:             "the quotes are not closed",
		"--workload=sh:":              "no line for the shell",
		"--workload-env=A":            "not NAME=VALUE",
		"--workload-env==a":           "not NAME=VALUE",
		"--workload-restart=yes":      "not no, on-failure or always",
		"--workload-tries=many":       "not a number",
		"--workload-wait=guest":       "not no, host or configure",
		"--workload-end=host":         "not no or machine",
		"--workload-stop=":            "unknown signal",
		"--workload-stop=NONE":        "unknown signal",
		"--workload-stop=0":           "unknown signal",
		"--workload-stop=65":          "unknown signal",
		"--workload-stop=TERM:":       "not a number of seconds up to 3600",
		"--workload-stop=TERM:3601":   "not a number of seconds up to 3600",
		"--workload-cap-drop=CHOW":    "unknown capability",
		"--workload-mask=proc":        "path is not absolute",
		"--workload-pid=host":         "not private or no",
		"--workload-stop=TERM:10:000": "not a number of seconds up to 3600",
	} {
		var s Spec
		if err := setIn(&s, option); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", option, err, want)
		}
	}
}

func TestStopOption(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]Spec{
		"INT":       {signal: unix.SIGINT, grace: 10 * time.Second},
		"SIGUSR1:0": {signal: unix.SIGUSR1},
		"37:3600":   {signal: 37, grace: time.Hour},
	} {
		s := parse(t, "--workload-stop="+value)
		if s.signal != want.signal || s.grace != want.grace {
			t.Errorf("%s is %d, %v, want %d, %v", value, s.signal, s.grace, want.signal, want.grace)
		}
	}
}

// TestEnv has an option set a name twice.
func TestEnv(t *testing.T) {
	t.Parallel()
	s := parse(t, "--workload-env=A=1", "--workload-env=B=", "--workload-env=AB=1", "--workload-env=A=2=3")
	if want := []string{"A=2=3", "B=", "AB=1"}; !slices.Equal(s.env, want) {
		t.Errorf("the environment is %q, want %q", s.env, want)
	}
}

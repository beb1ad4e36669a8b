package launch

import (
	"slices"
	"strings"
	"testing"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// setDefaults sets options, each "--name=value", and returns the errors.
func setDefaults(t *testing.T, options ...string) (d Defaults, errs []string) {
	t.Helper()
	for _, option := range options {
		name, value, _ := strings.Cut(option, "=")
		table := d.Options()
		i := slices.IndexFunc(table, func(o Option) bool { return o.Name == name })
		if i < 0 {
			t.Fatalf("%s: unknown option", name)
		}
		if err := table[i].Set(value); err != nil {
			errs = append(errs, option+": "+err.Error())
		}
	}
	return d, errs
}

func TestDefaultsOptions(t *testing.T) {
	t.Parallel()
	d, errs := setDefaults(t, "--command-user=app:www", "--command-dir=/srv", "--command-env=A=1", "--command-env=AB=",
		"--command-env=A=2=3", "--command-umask=0027", "--command-limit=nofile=10:20", "--command-limit=core=unlimited",
		"--command-limit=nofile=5")
	limits := []reactor.Limit{{Resource: 7, Soft: 5, Hard: 5}, {Resource: 4, Soft: 1<<64 - 1, Hard: 1<<64 - 1}}
	if errs != nil || d.User != "app:www" || d.Dir != "/srv" || !slices.Equal(d.env, []string{"A=2=3", "AB="}) ||
		*d.umask != 0o27 || !slices.Equal(d.limits, limits) {
		t.Errorf("got %+v, umask %o, errors %q", d, *d.umask, errs)
	}
	wrong := []string{
		"--command-user=", "--command-dir=", "--command-dir=srv", "--command-env=A", "--command-env==x", "--command-umask=",
		"--command-umask=9", "--command-umask=1000", "--command-umask=77777777777777", "--command-limit=nofile",
		"--command-limit=files=1", "--command-limit=nofile=", "--command-limit=nofile=2:1", "--command-limit=nofile=1:",
		"--command-limit=nofile=-1", "--command-limit=nofile= 1", "--command-limit=nofile=1x",
		"--command-limit=nofile=99999999999999999999",
	}
	if d, errs = setDefaults(t, wrong...); len(errs) != len(wrong) {
		t.Errorf("errors %q, want one for each of %q", errs, wrong)
	}
	if d.User != "" || d.Dir != "" || d.env != nil || d.umask != nil || d.limits != nil {
		t.Errorf("wrong options have set %+v", d)
	}
}

// TestDefaultEnvironment puts an environment together from its parts.
func TestDefaultEnvironment(t *testing.T) {
	t.Parallel()
	var added framing.Env
	added.Add([]byte("OWN"), []byte("own"))
	own := []string{"OWN=own"}
	user := &Account{asked: true}
	for _, c := range []struct {
		options []string
		secrets []string
		acc     *Account
		added   framing.Env
		only    bool
		want    []string
	}{
		{acc: &Account{}, want: nil},
		{acc: &Account{}, added: added, want: []string{"HOME=/root", "OWN=agent", "A=1"}},
		{acc: user, want: []string{"OWN=agent", "A=1", "HOME=/"}},
		{options: []string{"--command-env=A=2"}, acc: &Account{}, want: []string{"HOME=/root", "OWN=agent", "A=2"}},
		{options: []string{"--command-env=A=2"}, secrets: []string{"A=3"}, acc: &Account{}, want: []string{"HOME=/root", "OWN=agent", "A=3"}},
		{options: []string{"--command-env-only=yes"}, acc: &Account{}, want: []string{}},
		{options: []string{"--command-env-only=yes"}, secrets: []string{"OWN=secret"}, acc: user, added: added, want: []string{"HOME=/", "OWN=own"}},
		{options: []string{"--command-env=A=2"}, secrets: []string{"S=3"}, acc: user, added: added, only: true, want: own},
	} {
		env := NewEnv([]string{"HOME=/root", "OWN=agent", "A=1"}, &sys.Garbage{})
		env.Defaults, _ = setDefaults(t, c.options...)
		env.Secrets = c.secrets
		want := slices.Clone(c.want)
		if c.added.Len() > 0 && len(c.options) == 0 {
			want[1] = "OWN=own"
		}
		if got := env.For(c.acc, c.added, c.only); !slices.Equal(got, want) || (got == nil) != (c.want == nil) {
			t.Errorf("%q, %q: got %q, want %q", c.options, c.secrets, got, want)
		}
	}
}

func FuzzDefaults(f *testing.F) {
	f.Add("--command-limit", "nofile=1:2")
	f.Add("--command-umask", "077")
	f.Fuzz(func(t *testing.T, name, value string) {
		var d Defaults
		for _, o := range d.Options() {
			if o.Name != name || o.Set(value) != nil {
				continue
			}
			for _, l := range d.limits {
				if l.Soft > l.Hard || l.Resource < 0 || l.Resource > 15 {
					t.Errorf("%s %q: limit %v", name, value, l)
				}
			}
			if d.umask != nil && *d.umask > 0o777 {
				t.Errorf("%s %q: umask %o", name, value, *d.umask)
			}
		}
	})
}

package guesttest

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"wick/framing/client"
)

// TestConfigureLate has a workload that waits for its configuration. The host gives it secrets, its
// user and the machine's name. The secrets are nowhere else, neither while the machine runs nor
// afterwards.
func TestConfigureLate(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	c := working(t, l, `workload=sh:cat /run/secrets/key; echo "$TOKEN $NAME $(id -u) $(hostname) $(umask)"; exec sleep 1000`,
		"workload-wait=configure", "command-umask=077", "command-env=NAME=drive", "max-exits=9", "secret=A=1")
	disk := c.Drives[1].Path
	v, conn := boot(t, l, c)
	if got := workload(t, conn)["state"]; got != "waiting" {
		t.Errorf("the workload is %s, want that it waits after a hello", got)
	}
	ctx := deadline(t, stepLimit)
	err := conn.Configure(ctx, "base=/dev/vdx\nmount=x:/y:tmpfs\nnet=eth0\nsecret=A=1\nhostname=_\ncommand-env=NAME=host\nmax-exits=8")
	refused, ok := errors.AsType[*client.ConfigError](err)
	if !ok || len(refused.Faults) != 5 {
		t.Fatalf("Configure = %v, want five wrong lines", err)
	}
	for i, want := range []string{"at the start alone", "at the start alone", "wick net set", "wick secret set", "not a host name"} {
		if got := refused.Faults[i].Value; !strings.Contains(got, want) {
			t.Errorf("fault %d is %q, want %q in it", i, got, want)
		}
	}
	if got := workload(t, conn)["state"]; got != "waiting" {
		t.Errorf("the workload is %s after a configuration that was wrong", got)
	}
	const token, key = "sw0rdf1sh-entry", "sw0rdf1sh-file\n"
	if err := conn.SetSecret(ctx, client.Secret{Name: "TOKEN", Value: []byte(token), Env: true}); err != nil {
		t.Fatal(err)
	}
	if got := workload(t, conn)["state"]; got != "waiting" {
		t.Errorf("the workload is %s after a secret, want that it waits for options", got)
	}
	err = conn.Configure(ctx, "hostname=late.example\nworkload-user=7:8\n",
		client.Secret{Name: "key", Value: []byte(key), Owner: "7"})
	if err != nil {
		t.Fatal(err)
	}
	v.console.await(t, "info workload started pid=", 1)
	want := key + token + " host 7 late.example 0077\n"
	cmd, out := attach(t, conn)
	until(t, conn, "pgrep -x sleep || pidof sleep")
	hello, err := conn.Hello(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"config.hostname": "host line 1", "config.command-env.NAME": "host line 6", "config.command-umask": "/dev/vdc line 3",
		"config.max-exits": "host line 7", "limit.exits": "8", "secret.env.TOKEN": "", "secret.file.key": "0400 7:7",
		"degraded.config.1": "/dev/vdc line 6: secret: a secret comes from the host alone (wick secret set)",
	} {
		if got, ok := hello.Fact(name); got != want || !ok {
			t.Errorf("fact %s is %q, %v, want %q", name, got, ok, want)
		}
	}
	for _, f := range hello.Facts {
		if strings.Contains(f.Name+f.Value, "sw0rdf1sh") {
			t.Errorf("fact %s is %q", f.Name, f.Value)
		}
	}
	// The search does not find its own command line. A command has the entry; process 1 and the
	// kernel's threads do not.
	if got := run(t, conn, `p=sw0rd; p=${p}f1sh; grep -c $p /proc/cmdline; dmesg | grep -c $p; tr '\0' '\n' </proc/1/environ | grep -c $p
grep -al $p /proc/[0-9]*/cmdline; grep -rl $p /etc /root /tmp /var /run/*.conf 2>/dev/null; grep -c late.example /etc/hosts
stat -c '%a %u:%g' /run/secrets/key; grep -o '/run/secrets tmpfs .*' /proc/mounts; tr '\0' '\n' </proc/$(pidof sleep)/environ | grep -c $p; exit 0`); !strings.HasPrefix(got, "0\n0\n0\n1\n400 7:7\n/run/secrets tmpfs rw,nosuid,nodev,noexec") || !strings.HasSuffix(got, "\n1\n") {
		t.Errorf("the search in the guest says %q", got)
	}
	signal(t, conn, "TERM")
	if r, _ := cmd.Wait(deadline(t, downLimit)); r == nil || out.String() != want {
		t.Errorf("the workload's output is %q, want %q; its receipt is %v", out, want, r)
	}
	v.gone()
	wantClean(t, disk)
	if all, _ := v.console.look(); strings.Contains(all, "sw0rdf1sh") {
		t.Error("the console shows a secret")
	}
	content, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(content, []byte("sw0rdf1sh")) {
		t.Error("a secret is on the disk")
	}
}

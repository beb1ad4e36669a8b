package guesttest

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"wick/cmd/wick/internal/vmm"
	"wick/framing/client"
)

// TestClone freezes a machine with its workload, as for a snapshot, and gives it what a clone gets.
// The workload stands still until everything is in place, and is told then.
func TestClone(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	address := hostAddress(t)
	beyond := listenOn(t, address)
	c := connected(t, l, &vmm.Net{})
	text := strings.Join([]string{
		`workload = sh:trap 'echo told $(cat /run/wick/generation) $(hostname) >>/run/told' USR1; ` +
			`while :; do echo . >>/run/count; sleep 0.01; done`,
		"restore-signal=USR1",
		`restore-command = sh:echo $WICK_EPOCH $(cat /run/wick/generation) $(hostname) ` +
			`$(grep frozen /sys/fs/cgroup/wick-1/cgroup.events) >/root/command`,
	}, "\n")
	drive := file(t, append([]byte(text+"\n"), make([]byte, 4096-len(text)%512)...))
	c.Drives = append(c.Drives[:1:1], vmm.Drive{Path: c.overlay}, vmm.Drive{Path: drive})
	c.overlay = ""
	c.InitArgs = append(c.InitArgs, "--config=/dev/vdc")
	_, conn := boot(t, l, c)
	if got := run(t, conn, "cat /run/wick/generation; ls -l /run/wick/generation | cut -c 1-10"); got != "0\n-rw-r--r--\n" {
		t.Errorf("the generation of a boot is %q", got)
	}
	run(t, conn, "mkfifo /run/say; (nc "+address+" "+beyond.port()+" </run/say >/run/said 2>/dev/null; echo over >>/run/said) >/dev/null 2>&1 & "+
		"(sleep 1000 >/run/say 2>&1 &); echo before >/run/say")
	until(t, conn, "grep before /run/said && [ -s /run/count ]")

	count := func() int64 {
		t.Helper()
		info, err := conn.Stat(deadline(t, stepLimit), "/run/count")
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	still := func() {
		t.Helper()
		before := count()
		for range 20 {
			if _, err := conn.Ping(deadline(t, stepLimit)); err != nil {
				t.Fatal(err)
			}
		}
		if after := count(); after != before {
			t.Errorf("the workload wrote %d bytes while it was frozen", after-before)
		}
	}
	// No host thaws it: the watchdog does.
	if err := conn.FreezeCommands(deadline(t, stepLimit), 500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	run(t, conn, "true")

	if err := conn.FreezeCommands(deadline(t, stepLimit), time.Minute); err != nil {
		t.Fatal(err)
	}
	still()
	r, err := conn.SetIdentity(deadline(t, 2*stepLimit), client.Identity{
		Time: time.Now(), Entropy: make([]byte, 64), Hostname: "clone-7", MachineID: "new",
		Timezone: "No/Where", DropConnections: true,
		Network: &client.Network{Interfaces: []string{"eth0,addr=10.0.2.7/24,gw=10.0.2.2"}, DNS: []string{"10.0.2.3"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range r.Parts {
		names = append(names, p.Name)
		if (p.Name == "timezone") != errors.Is(p.Err, syscall.ENOENT) {
			t.Errorf("%s: %v", p.Name, p.Err)
		}
	}
	if got, want := strings.Join(names, " "), "entropy clock thaw network hostname machine-id timezone connections command generation workload"; got != want || r.Epoch != 1 {
		t.Errorf("epoch %d, parts %s; want 1, %s", r.Epoch, got, want)
	}
	if p, _ := r.Part("connections"); p.Value != 1 {
		t.Errorf("%d connections dropped, want 1", p.Value)
	}
	id, _ := r.Part("machine-id")
	until(t, conn, "[ -s /run/told ] && grep over /run/said")
	const look = "cat /run/told /root/command /etc/machine-id; hostname; grep -c '^10.0.2.7.clone-7$' /etc/hosts; " +
		"ip -o -4 addr show dev eth0 | grep -o 'inet [^ ]*'"
	want := "told 1 clone-7\n1 0 clone-7 frozen 1\n" + id.Text + "\nclone-7\n1\ninet 10.0.2.7/24\n"
	if got := run(t, conn, look); got != want {
		t.Errorf("the clone has %q, want %q", got, want)
	}
	before := count()
	until(t, conn, "true")
	for end := time.Now().Add(stepLimit); count() == before; {
		if time.Now().After(end) {
			t.Fatal("the workload does not go on")
		}
	}
	if got := run(t, conn, says("two", address, beyond.port())); got != "you said two\n" {
		t.Errorf("the host's server answers the clone %q", got)
	}
	if err := conn.Thaw(deadline(t, stepLimit)); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a thaw after that: %v, want EINVAL", err)
	}
	// A plain restore tells the workload too.
	if epoch, err := conn.Restore(deadline(t, stepLimit), time.Time{}, nil); epoch != 2 || err != nil {
		t.Errorf("restore: epoch %d, %v, want 2", epoch, err)
	}
	until(t, conn, "grep 'told 2 clone-7' /run/told")
}

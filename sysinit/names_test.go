//go:build linux

package sysinit

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// exported makes an image with a name of its own, as docker export leaves it.
func exported() ([]byte, error) {
	return squash(func(root string) error {
		return errors.Join(os.MkdirAll(root+"/etc", 0o755),
			os.WriteFile(root+"/etc/hosts", nil, 0o755), os.WriteFile(root+"/etc/machine-id", nil, 0o444),
			os.WriteFile(root+"/etc/resolv.conf", nil, 0o755),
			os.WriteFile(root+"/etc/hostname", []byte("# of the image\n\n image.example\t\n"), 0o644))
	})
}

// TestNames checks that a machine has the files in /etc that a container runtime would add.
func TestNames(t *testing.T) {
	inside := enter(t, func(o *outside) {
		o.base(exported)
		o.disk(16)
		for _, turn := range []string{"image", "given", "edited"} {
			o.tell("TURN", turn)
			o.run()
		}
		o.tell("TURN", "kept")
	})
	if !inside {
		return
	}
	unnamed(t)
	c, own := config(), "127.0.1.1\timage.example image\n"
	turn := os.Getenv("TURN")
	switch turn {
	case "given":
		c.Hostname, own = "given", "127.0.1.1\tgiven\n"
	case "edited":
		own += "10.0.0.1\tadded\n"
	case "kept":
		c.Hostname, own = "other", own+"10.0.0.1\tadded\n"
	}
	mustUp(t, c)
	if turn == "edited" {
		write(t, "/etc/hosts", read(t, "/etc/hosts")+"10.0.0.1\tadded\n")
	}
	unix.Sync()
	want := c.Hostname
	if want == "" {
		want = "image.example"
	}
	if name, _ := os.Hostname(); name != want {
		t.Errorf("hostname %q, want %q", name, want)
	}
	const localhost = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	if got := read(t, "/etc/hosts"); !strings.HasPrefix(got, localhost) || !strings.HasSuffix(got, "allrouters\n"+own) {
		t.Errorf("/etc/hosts:\n%s\nwant %q at its end", got, own)
	}
	if st, err := os.Stat("/etc/hosts"); err != nil || st.Mode() != 0o644 {
		t.Errorf("/etc/hosts: %v, %v", st.Mode(), err)
	}
	if got := read(t, "/etc/hostname"); got != "# of the image\n\n image.example\t\n" {
		t.Errorf("/etc/hostname %q", got)
	}
	if got, err := os.Readlink("/etc/mtab"); err != nil || got != "../proc/self/mounts" {
		t.Errorf("/etc/mtab leads to %q, %v", got, err)
	}
	if got := read(t, "/etc/resolv.conf"); got != "" {
		t.Errorf("/etc/resolv.conf %q", got)
	}
	if id := read(t, "/etc/machine-id"); len(id) != 33 || strings.Trim(id, "0123456789abcdef") != "\n" || id[12] != '4' {
		t.Errorf("/etc/machine-id %q", id)
	}
}

// unnamed clears the name that the host gave to the namespace.
func unnamed(t *testing.T) {
	t.Helper()
	if err := unix.Sethostname([]byte("(none)")); err != nil {
		t.Fatal(err)
	}
}

// TestNoNames has an image without /etc. It gets only the files that programs need.
func TestNoNames(t *testing.T) {
	if !enter(t, func(o *outside) { o.base(bare) }) {
		return
	}
	unnamed(t)
	mustUp(t, config())
	if name, _ := os.Hostname(); name != "localhost" {
		t.Errorf("hostname %q", name)
	}
	if got := read(t, "/etc/hosts"); got != hostsText("localhost") || strings.Contains(got, "127.0.1.1") {
		t.Errorf("/etc/hosts %q", got)
	}
	entries, err := os.ReadDir("/etc")
	if err != nil || len(entries) != 2 {
		t.Errorf("/etc has %v, %v; want hosts and mtab", entries, err)
	}
}

// TestHostname checks that the name comes from the first place that has one.
func TestHostname(t *testing.T) {
	if !enter(t, func(o *outside) { o.base(rich) }) {
		return
	}
	mustUp(t, config())
	for _, c := range []struct{ given, kernel, file, want string }{
		{"given", "kernel", "file\n", "given"},
		{"", "kernel", "file\n", "file"},
		{"", "kernel", "file", "file"},
		{"", "kernel", "\ufefffile", "kernel"},
		{"", "kernel", "# nothing\n", "kernel"},
		{"", "kernel", "", "kernel"},
		{"", "kernel", "two words\n", "kernel"},
		{"", "(none)", "my_box\r\n", "my_box"},
		{"", "(none)", "\n\n  # x\n\tbox.example.org \n", "box.example.org"},
		{"", "(none)", strings.Repeat("a", 65), "localhost"},
		{"", "(none)", strings.Repeat("a", 64), strings.Repeat("a", 64)},
		{"", "(none)", "(none)\n", "localhost"},
		{"", "(none)", "\x00\x00", "localhost"},
	} {
		write(t, "/etc/hostname", c.file)
		if err := unix.Sethostname([]byte(c.kernel)); err != nil {
			t.Fatal(err)
		}
		m := &machine{cfg: Config{Hostname: c.given}}
		if err := setName(m); err != nil {
			t.Error(err)
		}
		if name, _ := os.Hostname(); name != c.want || m.name != c.want {
			t.Errorf("%+v: hostname %q, %q", c, name, m.name)
		}
	}
	for _, err := range []error{os.Remove("/etc/hostname"), unix.Mkfifo("/etc/hostname", 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
		if err := setName(&machine{}); err != nil {
			t.Error(err)
		}
	}
}

// TestHosts checks that a file with an entry is left alone and that comments are kept.
func TestHosts(t *testing.T) {
	if !enter(t, func(o *outside) { o.base(rich) }) {
		return
	}
	mustUp(t, config())
	filled := hostsText("box")
	for before, after := range map[string]string{
		"":                           filled,
		"\n \t\r\n":                  "\n \t\r\n" + filled,
		"# a comment":                "# a comment\n" + filled,
		"# 127.0.0.1 localhost\n#\n": "# 127.0.0.1 localhost\n#\n" + filled,
		"127.0.0.1 localhost\n":      "127.0.0.1 localhost\n",
		"# x\n  ::1 localhost":       "# x\n  ::1 localhost",
		"10.0.0.1 db":                "10.0.0.1 db",
		"garbage":                    "garbage",
		filled:                       filled,
		hostsText("was.example"):     filled,
		hostsText("localhost"):       filled,
		// The agent has given the entry an address of the network.
		strings.Replace(hostsText("was.example"), "127.0.1.1", "10.0.2.15", 1):     filled,
		strings.Replace(hostsText("was.example"), "127.0.1.1", "fd00::2", 1) + "x": strings.Replace(hostsText("was.example"), "127.0.1.1", "fd00::2", 1) + "x",
		hostsText("was") + "#\n":     hostsText("was") + "#\n",
		strings.Repeat("#\n", 1<<15): strings.Repeat("#\n", 1<<15),
	} {
		write(t, "/etc/hosts", before)
		if err := fillHosts(&machine{name: "box"}); err != nil {
			t.Error(err)
		}
		if got := read(t, "/etc/hosts"); got != after {
			t.Errorf("%.200q becomes %.300q, want %.300q", before, got, after)
		}
	}
	for name, entry := range map[string]string{
		"box": "\tbox\n", "box.example.org": "\tbox.example.org box\n", ".box": "\t.box\n",
		"localhost.localdomain": "\tlocalhost.localdomain\n",
	} {
		if text := hostsText(name); !strings.HasSuffix(text, ownAddress[:9]+entry) {
			t.Errorf("%s: %q", name, text)
		}
	}
	// A FIFO is left alone, without waiting for its writer.
	for _, err := range []error{os.Remove("/etc/hosts"), unix.Mkfifo("/etc/hosts", 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := fillHosts(&machine{name: "box"}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a FIFO: %v", err)
	}
	// A symbolic link is followed and its target filled.
	for _, err := range []error{os.Remove("/etc/hosts"), os.Symlink("../run/hosts", "/etc/hosts"), fillHosts(&machine{name: "box"})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, "/run/hosts"); got != filled {
		t.Errorf("behind the link is %q", got)
	}
}

// TestEmptyFiles checks that an empty file is filled with a name or an identifier, and that a
// missing one stays missing.
func TestEmptyFiles(t *testing.T) {
	if !enter(t, func(o *outside) { o.base(rich) }) {
		return
	}
	mustUp(t, config())
	m := &machine{name: "box"}
	write(t, "/etc/hostname", "")
	if err := fillHostname(m); err != nil || read(t, "/etc/hostname") != "box\n" {
		t.Errorf("%v, /etc/hostname is %q", err, read(t, "/etc/hostname"))
	}
	m.name = "other"
	if err := fillHostname(m); err != nil || read(t, "/etc/hostname") != "box\n" {
		t.Errorf("%v, /etc/hostname is %q", err, read(t, "/etc/hostname"))
	}
	seen := map[string]bool{}
	for _, text := range []string{"", "uninitialized\n", "0123456789abcdef0123456789abcdef\n"} {
		write(t, "/etc/machine-id", text)
		if err := fillMachineID(m); err != nil {
			t.Error(err)
		}
		seen[read(t, "/etc/machine-id")] = true
	}
	if len(seen) != 3 || !seen["0123456789abcdef0123456789abcdef\n"] {
		t.Errorf("machine identifiers %v", seen)
	}
}

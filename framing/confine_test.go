package framing

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// everything returns a confinement with an entry of each kind but the given one.
func everything() (c Confinement) {
	c.Namespaces(NamespaceMount | NamespacePID | NamespaceUTS)
	c.Names("inner", "")
	c.Sysctl("kernel/domainname", "x")
	c.Root(RootReadOnly, "/srv/root")
	c.Mount(Mount{Create: MountDirectory, Flags: MountNoSUID, Source: "proc", Target: "/proc", Type: "proc", Options: "hidepid=2"})
	c.Mount(Mount{Create: MountFile, Flags: MountBind | MountReadOnly, Source: "/etc/hosts", Target: "/etc/hosts"})
	c.Device("/dev/null", 0o020666, 0, 5, 1, 3)
	c.Link("/proc/self/fd", "/dev/fd")
	c.Console("/dev/console")
	c.ReadOnly("/proc/sys")
	c.Mask("/proc/kcore")
	c.Bounding(1 << 10)
	c.Capabilities(1, 2, 4, 1<<40)
	c.NoNewPrivs()
	c.Seccomp(SeccompLog, []byte("12345678"))
	c.Umask(0o22)
	c.OOMScore(-5)
	c.Groups([]uint32{7, 1 << 31})
	c.Limit("pids.max", "7")
	return c
}

// confinedStart returns the payload of a start with that confinement.
func confinedStart(c Confinement) []byte {
	s := Start{ID: 1, More: true, Confinement: c}
	s.Args.Add("true")
	return AppendStart(nil, 1, &s)[HeaderSize:]
}

// TestConfinement holds that a start has the entries that were added, byte by byte as
// extension.md has them.
func TestConfinement(t *testing.T) {
	t.Parallel()
	want := everything()
	payload := confinedStart(want)
	var s Start
	if err := ParseStart(payload, &s); err != nil {
		t.Fatal(err)
	}
	var again Confinement
	kinds := map[ConfineKind]int{}
	for e := range s.Confinement.All {
		again.add(e)
		kinds[e.Kind]++
	}
	if !bytes.Equal(again.raw, want.raw) || !bytes.Equal(s.Confinement.raw, want.raw) {
		t.Errorf("got\n%s\nand of the entries\n%s, want\n%s",
			hex.Dump(s.Confinement.raw), hex.Dump(again.raw), hex.Dump(want.raw))
	}
	for kind := ConfineNamespaces; kind < confineKinds; kind++ {
		if n := kinds[kind]; n == 0 && kind != ConfineJoin {
			t.Errorf("there is no entry of kind %d", kind)
		}
	}
	var small Confinement
	small.Join(0x0102, NamespaceNetwork)
	small.Device("/n", 1, 2, 3, 4, 5)
	const bytesOf = "0200000009" + "0000000000000102" + "04" +
		"0700000018" + "00000001" + "00000002" + "00000003" + "00000004" + "00000005" + "0002" + "2f6e"
	if got := hex.EncodeToString(small.raw); got != bytesOf {
		t.Errorf("join and device are\n%s, want\n%s", got, bytesOf)
	}
	if n := s.PayloadSize(); n != len(payload) {
		t.Errorf("PayloadSize() = %d, want %d", n, len(payload))
	}
}

// TestConfinementRefused has confinements that cannot be meant.
func TestConfinementRefused(t *testing.T) {
	t.Parallel()
	raw := func(text string) func(*Confinement) {
		return func(c *Confinement) { b, _ := hex.DecodeString(text); c.raw = append(c.raw, b...) }
	}
	var nested []byte
	for range MaxConfine + 1 {
		nested = append(nested, "0b00000004"+"0002"+"2f6e"...)
	}
	for _, test := range []struct {
		name, want string
		add        func(*Confinement)
	}{
		{"kind 0", reasonKind, raw("0000000000")},
		{"an unknown kind", reasonKind, raw("7f00000000")},
		{"a short entry", reasonShort, raw("01000000" + "00")},
		{"a long entry", reasonLong, raw("0e00000001" + "00")},
		{"a count beyond the end", reasonCount, raw("0100000009" + "01")},
		{"a namespace", reasonFlag, func(c *Confinement) { c.Namespaces(0x40) }},
		{"id 0", reasonID, func(c *Confinement) { c.Join(0, 0) }},
		{"a root", reasonRelative, func(c *Confinement) { c.Root(0, "srv") }},
		{"a flag of a root", reasonFlag, func(c *Confinement) { c.Root(2, "/srv") }},
		{"a NUL", reasonText, func(c *Confinement) { c.Root(0, "/s\x00") }},
		{"a target", reasonRelative, func(c *Confinement) { c.Mount(Mount{Source: "proc", Target: "proc", Type: "proc"}) }},
		{"a source", reasonRelative, func(c *Confinement) { c.Mount(Mount{Flags: MountBind, Source: "etc", Target: "/etc"}) }},
		{"a remount", reasonFlag, func(c *Confinement) { c.Mount(Mount{Flags: 0x20, Source: "x", Target: "/etc"}) }},
		{"a propagation", reasonFlag, func(c *Confinement) { c.Mount(Mount{Flags: 1 << 20, Source: "x", Target: "/etc"}) }},
		{"rec alone", reasonFlag, func(c *Confinement) { c.Mount(Mount{Flags: MountRec, Source: "x", Target: "/etc"}) }},
		{"a mask", reasonRelative, func(c *Confinement) { c.Mask("") }},
		{"a filter", reasonFilter, func(c *Confinement) { c.Seccomp(0, []byte("1234567")) }},
		{"no filter", reasonFilter, func(c *Confinement) { c.Seccomp(0, nil) }},
		{"a long filter", reasonFilter, func(c *Confinement) { c.Seccomp(0, make([]byte, 8*MaxFilter+8)) }},
		{"a listener", reasonFlag, func(c *Confinement) { c.Seccomp(8, make([]byte, 8)) }},
		{"a umask", reasonFlag, func(c *Confinement) { c.Umask(0o1000) }},
		{"a kind twice", reasonTwice, func(c *Confinement) { c.NoNewPrivs(); c.NoNewPrivs() }},
		{"too many", reasonTwice, raw(string(nested))},
		{"a name", reasonHost, func(c *Confinement) { c.Namespaces(NamespaceUTS); c.Names(strings.Repeat("x", 65), "") }},
		{"the machine's name", reasonNamespace, func(c *Confinement) { c.Namespaces(NamespaceMount); c.Names("x", "") }},
		{"the machine's sysctl", reasonNamespace, func(c *Confinement) { c.Sysctl("kernel/panic", "1") }},
		{"a sysctl outside", reasonRelative, func(c *Confinement) { c.Namespaces(NamespaceIPC); c.Sysctl("../x", "1") }},
		{"a mount in another's", reasonNamespace, func(c *Confinement) { c.Join(1, 0); c.Mask("/x") }},
		{"a root in another's", reasonNamespace, func(c *Confinement) { c.Join(1, NamespaceMount); c.Root(0, "/x") }},
		{"another's and its own", reasonNamespace, func(c *Confinement) { c.Namespaces(NamespaceIPC); c.Join(1, NamespaceIPC) }},
		{"a kind to join", reasonFlag, func(c *Confinement) { c.Join(1, 0x80) }},
		{"a limit elsewhere", reasonRelative, func(c *Confinement) { c.Limit("../pids.max", "1") }},
		{"a limit below", reasonRelative, func(c *Confinement) { c.Limit("x/pids.max", "1") }},
		{"groups", reasonCount, raw("1200000003" + "000000")},
		{"nothing", reasonConfine, nil},
	} {
		var c Confinement
		payload := confinedStart(everything())
		if test.add != nil {
			test.add(&c)
			payload = confinedStart(c)
		} else {
			all := everything()
			payload = append(payload[:len(payload)-len(all.raw)-4], 0, 0, 0, 0)
		}
		var s Start
		if err := ParseStart(payload, &s); err == nil || err.Error() != "start: "+test.want {
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
	}
	payload := confinedStart(everything())
	payload[8] &^= startMore
	if err := ParseStart(payload, new(Start)); err == nil {
		t.Error("confined without more is no error")
	}
}

// FuzzConfinement holds that entries that are accepted are encoded again as they were.
func FuzzConfinement(f *testing.F) {
	all := everything()
	f.Add(all.raw)
	for e := range all.All {
		var one Confinement
		one.add(e)
		f.Add(one.raw)
	}
	var join Confinement
	join.Join(7, NamespacePID)
	f.Add(join.raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var s Start
		if ParseStart(confinedStart(Confinement{raw}), &s) != nil || len(raw) == 0 {
			return
		}
		var again Confinement
		for e := range s.Confinement.All {
			again.add(e)
		}
		if !bytes.Equal(again.raw, raw) {
			t.Errorf("%x became %x", raw, again.raw)
		}
	})
}

// FuzzConfineOptions sets options, a line each. Together they make a confinement that a guest
// accepts, and a list of capabilities is what its words are.
func FuzzConfineOptions(f *testing.F) {
	f.Add("cap-drop=ALL\ncap-add=NET_RAW,cap_chown\nno-new-privs=yes\nread-only=yes\nread-only=no")
	f.Add("root-dir=/srv\nmask=/proc/kcore\nread-only-path=/etc\nmount-tmpfs=/tmp")
	f.Add("pid=private\nnetwork=private\nipc=private\nuts=private\npid=no")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsRune(text, 0) || len(text) > 1<<10 {
			return // no command line has such a value
		}
		var o ConfineOptions
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			reason := o.Set(name, value)
			if name != "cap-drop" && name != "cap-add" {
				continue
			}
			var want uint64
			known := true
			for word := range strings.SplitSeq(value, ",") {
				set, ok := FindCapabilities(word)
				want, known = want|set, known && ok
			}
			if got, ok := FindCapabilities(value); ok != known || ok && got != want || ok != (reason == "") {
				t.Errorf("FindCapabilities(%q) = %#x, %v, want %#x, %v; Set says %q", value, got, ok, want, known, reason)
			}
		}
		var s Start
		c := o.Confinement()
		if err := ParseStart(confinedStart(c), &s); err != nil && c.Any() {
			t.Errorf("%q: %v", text, err)
		}
	})
}

// TestFindCapabilities holds the names of capabilities to their numbers.
func TestFindCapabilities(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]uint64{
		"CHOWN": 1, "cap_net_raw": 1 << 13, "CAP_SYS_ADMIN,chown": 1<<21 | 1, "checkpoint_restore": 1 << 40,
		"All": AllCapabilities, "bpf": 1 << 39, "syslog": 1 << 34,
	} {
		if got, ok := FindCapabilities(list); !ok || got != want {
			t.Errorf("FindCapabilities(%q) = %#x, %v, want %#x", list, got, ok, want)
		}
	}
	for _, list := range []string{"", "chow", "chown ", "chown,,bpf", "cap_", "cap_cap_bpf", "chown dac_override", "ALL,x", "1"} {
		if set, ok := FindCapabilities(list); ok {
			t.Errorf("FindCapabilities(%q) = %#x, want none", list, set)
		}
	}
}

// TestConfineOptions holds that options which can be set together make a confinement that a guest
// accepts, and that others are refused by their value.
func TestConfineOptions(t *testing.T) {
	t.Parallel()
	var o ConfineOptions
	if c := o.Confinement(); c.Any() {
		t.Error("no option makes a confinement")
	}
	for _, set := range [][2]string{
		{"cap-drop", "ALL"}, {"cap-add", "NET_RAW"}, {"cap-add", "CHOWN"}, {"no-new-privs", "yes"}, {"read-only", "yes"},
		{"read-only-path", "/etc"}, {"mask", "/proc/kcore"}, {"mask", "/proc/keys"}, {"mount-tmpfs", "/tmp"},
		{"root-dir", "/srv"}, {"pid", "private"}, {"network", "private"}, {"ipc", "private"}, {"uts", "private"},
	} {
		if reason := o.Set(set[0], set[1]); reason != "" {
			t.Errorf("Set(%q, %q) = %q", set[0], set[1], reason)
		}
	}
	o.Filter, o.Terminal = make([]byte, 8), true
	var s Start
	if err := ParseStart(confinedStart(o.Confinement()), &s); err != nil {
		t.Error(err)
	}
	const added = 1<<13 | 1
	for e := range s.Confinement.All {
		switch e.Kind {
		case ConfineBounding:
			if e.Numbers[0] != added {
				t.Errorf("the bounding set is %#x, want %#x", e.Numbers[0], added)
			}
		case ConfineCapabilities:
			if e.Numbers != [5]uint64{added, added, added, added} {
				t.Errorf("the capabilities are %#x, want %#x in each", e.Numbers, added)
			}
		}
	}
	for _, set := range [][2]string{
		{"no-new-privs", "no"}, {"read-only", "no"}, {"pid", "no"}, {"network", "no"}, {"ipc", "no"}, {"uts", "no"},
	} {
		if reason := o.Set(set[0], set[1]); reason != "" {
			t.Errorf("Set(%q, %q) = %q", set[0], set[1], reason)
		}
	}
	if o.NoNewPrivs || o.ReadOnly || o.Own != 0 {
		t.Errorf("switched off, the options are %+v", o)
	}
	for _, set := range [][2]string{
		{"cap-drop", "none"}, {"cap-add", ""}, {"pid", "host"}, {"read-only", ""}, {"network", ""}, {"mask", "proc"}, {"mount-tmpfs", ""}, {"root-dir", "srv"},
	} {
		if reason := o.Set(set[0], set[1]); reason == "" {
			t.Errorf("Set(%q, %q) has no error", set[0], set[1])
		}
	}
}

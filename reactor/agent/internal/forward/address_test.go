package forward

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// FuzzAddress holds the parser of TCP addresses to package netip.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{
		"127.0.0.1:80", "[::1]:80", "[::]:0", "[1:2:3:4:5:6:7:8]:65535", "[::ffff:1.2.3.4]:1", "[1::8]:1", "[::1.2.3.4]:1", "[1:2::]:9", "localhost:80",
		":80", "", ":", "1.2.3.4:65536", "[::1]", "[::1]:", "[::1%lo]:80", "01.2.3.4:80", "1.2.3.4:080", "[1:2:3:4:5:6:7::]:1", "[:1]:1", "[1:]:1", "[:::]:1",
		"[1::2::3]:1", "[12345::]:1", "[1:2:3:4:5:6:7:1.2.3.4]:1", "[::1.2.3]:1", "[]:1", "[1]:1", "example.com:80",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, bad := parse(framing.NetworkTCP, s, true)
		want, err := netip.ParseAddrPort(s)
		host, _, _ := net.SplitHostPort(s)
		if host == "" || host == "localhost" || err == nil && want.Addr().Zone() != "" {
			return // netip and parse differ here on purpose
		}
		if (bad == nil) != (err == nil) {
			t.Fatalf("parse(%q) = %v, netip says %v", s, bad, err)
		}
		if err != nil {
			return
		}
		got, err := netip.ParseAddrPort(string(list[0].text()))
		if err != nil || got.Port() != want.Port() || got.Addr() != want.Addr().Unmap() {
			t.Fatalf("parse(%q) is %s, want %v", s, list[0].text(), want)
		}
		if text := netip.AddrPortFrom(want.Addr().Unmap(), want.Port()).String(); text != string(list[0].text()) {
			t.Fatalf("%q is written %q, want %q", s, list[0].text(), text)
		}
	})
}

func TestUnixAddress(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"/run/a", "@name", "relative", string(make107())} {
		list, bad := parse(framing.NetworkUnix, text, false)
		if bad != nil {
			t.Fatalf("parse(%q): %v", text, bad)
		}
		a := list[0]
		if text[0] != '@' {
			a = a[:len(a)-1] // the NUL, which the kernel may leave out
		}
		if got := string(a.text()); got != text {
			t.Errorf("parse(%q) is written %q", text, got)
		}
	}
	if _, bad := parse(framing.NetworkUnix, string(make107())+"x", false); bad == nil || !sys.IsErrno(bad.err, unix.ENAMETOOLONG) {
		t.Errorf("108 bytes: %v", bad)
	}
}

func make107() []byte {
	b := make([]byte, 107)
	for i := range b {
		b[i] = 'x'
	}
	return b
}

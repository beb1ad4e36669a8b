package forwarding

import (
	"slices"
	"strings"
	"testing"
)

// TestParse reads what users write.
func TestParse(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text    string
		reverse bool
		want    string // or the error
	}{
		{"8080:80", false, "127.0.0.1:8080 localhost:80"},
		{"8080:udp:53", false, "UDP is not forwarded, only TCP and Unix sockets are"},
		{"8080:53/udp", false, "UDP is not forwarded, only TCP and Unix sockets are"},
		{"8080:db.internal:80", false, `"db.internal" is not an IP address or localhost`},
		{"256.0.0.1:8080:80", false, `"256.0.0.1" is not an IP address or localhost`},
		{"3128:proxy.example:3128", true, "localhost:3128 proxy.example:3128"},
		{"db.internal:3128:3128", true, `"db.internal" is not an IP address or localhost`},
		{"8080", false, "127.0.0.1:8080 localhost:8080"},
		{"0:80", false, "127.0.0.1:0 localhost:80"},
		{"0.0.0.0:8080:80", false, "0.0.0.0:8080 localhost:80"},
		{"[::1]:8080:80", false, "[::1]:8080 localhost:80"},
		{"8080:10.0.0.2:80", false, "127.0.0.1:8080 10.0.0.2:80"},
		{"8080:[fd00::1]:80", false, "127.0.0.1:8080 [fd00::1]:80"},
		{"8080:unix:/run/a", false, "127.0.0.1:8080 unix:/run/a"},
		{"8080:/run/a", false, "127.0.0.1:8080 unix:/run/a"},
		{"8080:@name", false, "127.0.0.1:8080 unix:@name"},
		{"unix:here:unix:/there", false, "unix:here unix:/there"},
		{"/run/agent.sock:/tmp/agent.1", true, "unix:/run/agent.sock unix:/tmp/agent.1"},
		{"3128", true, "localhost:3128 localhost:3128"},
		{"3128:proxy.example:8080", true, "localhost:3128 proxy.example:8080"},
		{"0.0.0.0:3128:8080", true, "0.0.0.0:3128 localhost:8080"},
		{"", false, "is not a port"},
		{":80", false, "is not a port"},
		{"8080:", false, "the other end is missing"},
		{"/run/agent.sock:", true, "the other end is missing"},
		{"65536:80", false, `port "65536" is not`},
		{"80:65536", false, `port "65536" is not`},
		{"99999999999999999999:80", false, "is not a number of 0 to 65535"},
		{"80:0", false, "port 0"},
		{"80:x:y", false, `port "y" is not`},
		{"80:81:82", false, `"82" is left over`},
		{"-1:80", false, "the other end is missing"},
		{"unix::80", false, "path is missing"},
		{"[::1:80:80", false, "in brackets"},
		{"8080:80/udp", false, "UDP is not forwarded"},
	} {
		f, err := Parse(test.text, DefaultBind, test.reverse)
		got := f.From.String() + " " + f.To.String()
		if err != nil {
			got = err.Error()
		}
		if got != test.want && (err == nil || !strings.Contains(got, test.want)) {
			t.Errorf("Parse(%q) = %q, want %q", test.text, got, test.want)
		}
	}
}

// TestParsePublish checks the forms of -p, those of wick forward and docker's.
func TestParsePublish(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		want []string // ends of the host and of the guest in turn, or nothing for an error
	}{
		{"8080:80", []string{"127.0.0.1:8080", "localhost:80"}},
		{"8080:80/tcp", []string{"127.0.0.1:8080", "localhost:80"}},
		{"0.0.0.0:8080:80/tcp", []string{"0.0.0.0:8080", "localhost:80"}},
		{"127.0.0.1::80", []string{"127.0.0.1:0", "localhost:80"}},
		{"127.0.0.1::80/tcp", []string{"127.0.0.1:0", "localhost:80"}},
		{"[::1]::80", []string{"[::1]:0", "localhost:80"}},
		{"[::1]:8080:80", []string{"[::1]:8080", "localhost:80"}},
		{"80", []string{"127.0.0.1:80", "localhost:80"}},
		{"8080:unix:/run/app-1-2.sock", []string{"127.0.0.1:8080", "unix:/run/app-1-2.sock"}},
		{"7000-7001:80-81", []string{"127.0.0.1:7000", "localhost:80", "127.0.0.1:7001", "localhost:81"}},
		{"0.0.0.0:7000-7001:80-81/tcp", []string{"0.0.0.0:7000", "localhost:80", "0.0.0.0:7001", "localhost:81"}},
		{"80-81", []string{"127.0.0.1:80", "localhost:80", "127.0.0.1:81", "localhost:81"}},
		{"7000:80-81", nil},
		{"7000-7002:80-81", nil},
		{"7001-7000:81-80", nil},
		{"7000-7001:80", nil},
		{"1-70000:1-70000", nil},
		{"53:53/udp", nil},
		{"::", nil},
		{"::1::80", nil},
	} {
		forwards, err := ParsePublish(tt.in)
		var got []string
		for _, f := range forwards {
			got = append(got, f.From.String(), f.To.String())
		}
		if !slices.Equal(got, tt.want) || (err != nil) != (tt.want == nil) {
			t.Errorf("ParsePublish(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
}

package agent

import (
	"cmp"
	"fmt"
	"testing"
)

// TestOptions holds which values each option takes, and what configuration they make. A value
// that is wrong changes nothing: an init tells its host, by the ways that it has then.
func TestOptions(t *testing.T) {
	t.Parallel()
	const usual = "dial 2:1000, listen 1000"
	for _, test := range []struct{ name, value, want string }{ // "" is an error
		{"--vsock-dial", "off", "dial 0:0, listen 1000"},
		{"--vsock-dial", "3:5", "dial 3:5, listen 1000"},
		{"--vsock-dial", "4294967294:4294967294", "dial 4294967294:4294967294, listen 1000"},
		{"--vsock-dial", "4294967295:1", ""},
		{"--vsock-dial", "2:4294967295", ""},
		{"--vsock-dial", "2:4294967296", ""},
		{"--vsock-dial", "2:99999999999999999999999", ""},
		{"--vsock-dial", "2:0", ""},
		{"--vsock-dial", "2", ""},
		{"--vsock-dial", "2:", ""},
		{"--vsock-dial", ":1", ""},
		{"--vsock-dial", "2:off", ""},
		{"--vsock-dial", "-1:1", ""},
		{"--vsock-dial", "", ""},
		{"--vsock-listen", "off", "dial 2:1000, listen 0"},
		{"--vsock-listen", "7", "dial 2:1000, listen 7"},
		{"--vsock-listen", "0", ""},
		{"--vsock-listen", "+1", ""},
		{"--vsock-listen", "4294967295", ""},
		{"--unix-socket", "/x", "dial 0:0, listen 0/x"},
		{"--unix-socket", "", ""},
		{"--log-level", "error", usual},
		{"--log-level", "loud", ""},
	} {
		var o Options
		known := false
		for _, option := range o.Table() {
			if option.Name != test.name {
				continue
			}
			known = true
			if err := option.Set(test.value); (err == nil) != (test.want != "") {
				t.Errorf("%s %q: error %v", test.name, test.value, err)
			}
		}
		c := o.Config()
		got := fmt.Sprintf("dial %d:%d, listen %d%s", c.DialCID, c.DialPort, c.ListenPort, c.UnixSocket)
		if want := cmp.Or(test.want, usual); !known || got != want {
			t.Errorf("%s %q: known %v, %s, want %s", test.name, test.value, known, got, want)
		}
		level := LevelInfo
		if test.value == "error" {
			level = LevelError
		}
		if !c.Log.Enabled(level) || c.Log.Enabled(level+1) {
			t.Errorf("%s %q: the log's level is not %d", test.name, test.value, level)
		}
	}
}

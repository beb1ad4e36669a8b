package forwarding

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// TestSocks plays clients of SOCKS5.
func TestSocks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, says, want, dialed string }{
		{"a name", "\x05\x01\x00" + "\x05\x01\x00\x03\x09localhost\x00\x50", "\x05\x00" + "\x05\x00", "localhost:80"},
		{"IPv4", "\x05\x02\x02\x00" + "\x05\x01\x00\x01\x7f\x00\x00\x01\x1f\x90", "\x05\x00" + "\x05\x00", "127.0.0.1:8080"},
		{"IPv6", "\x05\x01\x00" + "\x05\x01\x00\x04" + strings.Repeat("\x00", 15) + "\x01\x00\x50", "\x05\x00" + "\x05\x00", "[::1]:80"},
		{"authentication", "\x05\x01\x02", "\x05\xff", ""},
		{"bind", "\x05\x01\x00" + "\x05\x02\x00\x01\x7f\x00\x00\x01\x1f\x90", "\x05\x00" + "\x05\x07", ""},
		{"udp", "\x05\x01\x00" + "\x05\x03\x00\x01\x7f\x00\x00\x01\x1f\x90", "\x05\x00" + "\x05\x07", ""},
		{"address type", "\x05\x01\x00" + "\x05\x01\x00\x02", "\x05\x00" + "\x05\x08", ""},
		{"version 4", "\x04\x01\x00", "", ""},
		{"nothing", "", "", ""},
	} {
		here, there := net.Pipe()
		dialed := ""
		done := make(chan error, 1)
		go func() {
			defer there.Close()
			_, err := socks(t.Context(), there, func(_ context.Context, _, address string) (net.Conn, error) {
				dialed = address
				a, b := net.Pipe()
				b.Close()
				return a, nil
			})
			done <- err
		}()
		go func() {
			io.WriteString(here, test.says)
			time.AfterFunc(100*time.Millisecond, func() { here.SetReadDeadline(time.Now()) })
		}()
		got := make([]byte, 64)
		n := 0
		for n < len(test.want) {
			k, err := here.Read(got[n:])
			if n += k; err != nil {
				break
			}
		}
		here.Close()
		err := <-done
		if !strings.HasPrefix(string(got[:n]), test.want) || dialed != test.dialed || (err == nil) != (test.dialed != "") {
			t.Errorf("%s: answered %q, dialed %q, %v", test.name, got[:n], dialed, err)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

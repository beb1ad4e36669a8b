package guesttest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"wick/bench/budget"
	"wick/framing/client"
)

// large is nearly the maximum size of a frame.
const large = 15 << 20

// testLarge sends and reads large content, and checks the peak memory of process 1. Small versions
// of everything have run by now, so the pages of the program itself are already loaded.
func testLarge(t *testing.T, s *served) {
	for _, way := range []struct {
		name string
		conn *client.Client
	}{{"guest connects", s.conn}, {"host connects", s.dial(t)}} {
		t.Run(way.name, func(t *testing.T) {
			before := status(t, way.conn, "VmHWM")
			output := client.Exec{Command: "head -c 15728640 /dev/zero | tr '\\0' x"}
			content := bytes.Repeat([]byte("0123456789abcdef"), large/16)
			r := result(t, way.conn, output)
			if r.ExitCode != 0 || len(r.Stdout) != large || bytes.Trim(r.Stdout, "x") != nil || len(r.Stderr) != 0 {
				t.Errorf("exit code %d, %d bytes of stdout, stderr %q", r.ExitCode, len(r.Stdout), clip(r.Stderr))
			}
			put(t, way.conn, "/root/large", content)
			after := status(t, way.conn, "VmHWM")
			want := sha256.Sum256(content)
			if got, _, _ := strings.Cut(run(t, way.conn, "sha256sum /root/large; rm /root/large"), " "); got != hex.EncodeToString(want[:]) {
				t.Errorf("the file arrived with the hash %s", got)
			}
			t.Logf("VmHWM was %d kB when idle, %d kB before and %d kB after", s.idleHWM, before, after)
			if after-before > budget.PeakGrowth {
				t.Errorf("VmHWM grew by %d kB to %d kB, want at most %d", after-before, after, budget.PeakGrowth)
			}
		})
	}
}

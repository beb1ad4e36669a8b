package guesttest

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing/wiretest"
)

// testAbandoned has hosts leave that were owed a long reply and had sent more than was read. The
// kernel then has bytes in both directions, and reports neither that the connection is writable nor
// that the peer is gone.
func testAbandoned(t *testing.T, s *served) {
	before := s.connections(t)
	for range 4 {
		r := dialRaw(t, s.UDS(), "1000")
		r.want(wiretest.Ready, 0, "")
		r.write(commandFrame("head -c 2000000 /dev/zero"))
		awaitStall(t, r.conn)
		pings := []byte(strings.Repeat(string(wiretest.Raw(wiretest.Ping, 2, nil)), 5000))
		for { // until no more is taken
			r.conn.SetWriteDeadline(time.Now().Add(time.Second))
			if _, err := r.conn.Write(pings); errors.Is(err, os.ErrDeadlineExceeded) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		r.conn.Close()
	}
	s.awaitConnections(t, before)
}

// awaitStall waits until the bytes that have arrived on an unread connection grow no more.
func awaitStall(t *testing.T, conn net.Conn) {
	t.Helper()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for last, same := 0, 0; same < 20; time.Sleep(20 * time.Millisecond) {
		queued := 0
		raw.Control(func(fd uintptr) { queued, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
		if err != nil {
			t.Fatal(err)
		}
		if same++; queued != last || queued == 0 {
			last, same = queued, 0
		}
	}
}

package client

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"wick/framing/client/clienttest"
)

// TestDialTCP reaches a guest through a TCP port that leads to its socket, as ssh -L makes one. The
// forwarder accepts before the guest is there, so that Dial has to try again.
func TestDialTCP(t *testing.T) {
	for form, start := range map[string]func(g *clienttest.Guest, path string) error{
		"tcp:":             (*clienttest.Guest).Listen,
		"firecracker-tcp:": func(g *clienttest.Guest, path string) error { return g.ListenFirecracker(path, "1000") },
	} {
		t.Run(strings.TrimSuffix(form, ":"), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			missed := make(chan struct{}, 1000)
			go func() {
				for {
					from, err := ln.Accept()
					if err != nil {
						return
					}
					to, err := net.Dial("unix", path)
					if err != nil {
						from.Close()
						missed <- struct{}{}
						continue
					}
					go func() {
						io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from}) // no splice, which keeps pipes
						to.Close()
					}()
					go func() {
						io.Copy(struct{ io.Writer }{from}, struct{ io.Reader }{to})
						from.Close()
					}()
				}
			}()
			dialed := dialing(t, form+ln.Addr().String())
			<-missed
			g := &clienttest.Guest{}
			if err := start(g, path); err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			c := (<-dialed).must(t)
			if _, err := c.Ping(testContext(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

package client

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestAddressForms(t *testing.T) {
	for _, test := range []struct {
		addr string
		want address
	}{
		{"unix:/a/b", address{kind: kindUnix, path: "/a/b", port: 1000}},
		{"unix:a:1", address{kind: kindUnix, path: "a:1", port: 1000}},
		{"unix-listen:/a", address{kind: kindUnixListen, path: "/a", port: 1000}},
		{"firecracker:/a", address{kind: kindFirecracker, path: "/a", port: 1000}},
		{"firecracker:/a:5", address{kind: kindFirecracker, path: "/a", port: 5}},
		{"firecracker:/a:b", address{kind: kindFirecracker, path: "/a:b", port: 1000}},
		{"firecracker:/a:5:1000", address{kind: kindFirecracker, path: "/a:5", port: 1000}},
		{"firecracker-listen:/a", address{kind: kindFirecrackerListen, path: "/a_1000", port: 1000}},
		{"firecracker-listen:/a:5", address{kind: kindFirecrackerListen, path: "/a_5", port: 5}},
		{"tcp:localhost:70", address{kind: kindTCP, path: "localhost:70", port: 1000}},
		{"tcp:[::1]:70", address{kind: kindTCP, path: "[::1]:70", port: 1000}},
		{"firecracker-tcp:127.0.0.1:70", address{kind: kindFirecrackerTCP, path: "127.0.0.1:70", port: 1000}},
		{"firecracker-tcp:127.0.0.1:70:5", address{kind: kindFirecrackerTCP, path: "127.0.0.1:70", port: 5}},
		{"vsock:3", address{kind: kindVsock, cid: 3, port: 1000}},
		{"vsock:3:4294967294", address{kind: kindVsock, cid: 3, port: 4294967294}},
	} {
		test.want.text = test.addr
		got, err := parseAddress(test.addr)
		if err != nil {
			t.Error(err)
		} else if *got != test.want {
			t.Errorf("%s: got %+v, want %+v", test.addr, *got, test.want)
		}
	}
}

func TestBadAddressFailsAtOnce(t *testing.T) {
	for addr, reason := range map[string]string{
		"":                                  "no such form",
		"/run/v.sock":                       "no such form",
		"udp:1.2.3.4:5":                     "no such form",
		"tcp:1.2.3.4:5":                     "neither encrypted nor authenticated",
		"tcp:example.org:5":                 "neither encrypted nor authenticated",
		"tcp::5":                            "must be localhost",
		"tcp:[::]:5":                        "must be localhost",
		"tcp:localhost":                     "want a host and a TCP port",
		"tcp:localhost:0":                   "want a host and a TCP port",
		"tcp:[::1]":                         "want a host and a TCP port",
		"tcp:localhost:1:2":                 "is left over",
		"firecracker-tcp:localhost:1:0":     "the port must be",
		"unix":                              "no such form",
		"unix:":                             "the path is missing",
		"firecracker::5":                    "the path is missing",
		"firecracker-listen:":               "the path is missing",
		"unix:a\x00b":                       "NUL",
		"firecracker:/a:":                   "the port must be",
		"firecracker:/a:0":                  "the port must be",
		"firecracker:/a:4294967295":         "the port must be",
		"vsock:":                            "the CID must be",
		"vsock:0x3:1000":                    "the CID must be",
		"vsock:4294967295:1000":             "the CID must be",
		"vsock:3:":                          "the port must be",
		"vsock:3:port":                      "the port must be",
		"unix:/" + strings.Repeat("a", 107): "at most 107 bytes",
		"firecracker-listen:/" + strings.Repeat("a", 103): "at most 107 bytes",
	} {
		_, err := Dial(context.Background(), addr)
		bad, ok := errors.AsType[*AddrError](err)
		if !ok || bad.Addr != addr || !strings.Contains(bad.Reason, reason) {
			t.Errorf("%q: got %v, want %q", addr, err, reason)
		}
	}
	if _, err := Listen("unix:/a"); !isType[*AddrError](err) {
		t.Errorf("listening at a form that connects: %v", err)
	}
}

func isType[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

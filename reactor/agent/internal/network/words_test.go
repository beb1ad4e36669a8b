package network

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"--net=eth0": "", "--net=eth0,addr=10.0.2.15/24,gw=10.0.2.2": "",
		"--net=eth0,addr=10.0.0.1/24,addr=fd00::2/64,gw=10.0.0.2,gw=fe80::1,route=10.1.0.0/16@10.0.0.3,route=10.2.0.0/16": "",
		"--net=02:fc:00:00:00:01,mac=02:fc:00:00:00:02,mtu=1400,up":                                                       "",
		"--net=eth0,down": "", "--dns=10.0.2.3,fd00::1": "", "--search=a.example,b": "", "--hostname=clone-7": "",

		"":                                       "want --net=",
		"--net":                                  "want --net=",
		"--net=":                                 "want --net=",
		"--dns=":                                 "want --net=",
		"eth0":                                   "want --net=",
		"--bogus=1":                              "want --net=",
		"--net=lo":                               "want the name of an interface",
		"--net=a/b":                              "want the name of an interface",
		"--net=sixteen-letters0":                 "want the name of an interface",
		"--net=..":                               "want the name of an interface",
		"--net=eth0,":                            ": want addr=, gw=",
		"--net=eth0,bogus=1":                     "bogus=1: want addr=, gw=",
		"--net=eth0,addr":                        "addr: want an address",
		"--net=eth0,addr=":                       "want an address",
		"--net=eth0,addr=10.0.0":                 "want an address",
		"--net=eth0,addr=10.0.0.1/33":            "want an address",
		"--net=eth0,addr=10.0.0.01/24":           "want an address",
		"--net=eth0,addr=0.0.0.0/0":              "want an address",
		"--net=eth0,addr=224.0.0.1/24":           "want an address",
		"--net=eth0,addr=ff02::1/64":             "want an address",
		"--net=eth0,addr=fd00::/129":             "want an address",
		"--net=eth0,addr=1:2:3/64":               "want an address",
		"--net=eth0,addr=a.b.c.d/24":             "want an address",
		"--net=eth0,gw=10.0.0.1/24":              "want a",
		"--net=eth0,gw=eth1":                     "want a",
		"--net=eth0,route=10.0.0.0/8@::":         "want a",
		"--net=eth0,route=fd00::/8@1.2.3.4":      "want a",
		"--net=eth0,up=1":                        "up=1: want up",
		"--net=eth0,mac=02:fc:00:00:00":          "want the MAC address",
		"--net=eth0,mac=03:fc:00:00:00:01":       "want the MAC address",
		"--net=eth0,mac=00:00:00:00:00:00":       "want the MAC address",
		"--net=eth0,mac=02-fc-00-00-00-01":       "want the MAC address",
		"--net=eth0,mtu=67":                      "want mtu= of 68",
		"--net=eth0,mtu=65536":                   "want mtu= of 68",
		"--net=eth0,mtu=1e3":                     "want mtu= of 68",
		"--dns=1.2.3.4,":                         "not an address of a name server",
		"--dns=example.org":                      "not an address of a name server",
		"--search=a b":                           "not a domain",
		"--search=a\nnameserver":                 "not a domain",
		"--hostname=-" + strings.Repeat("x", 64): "not a host name",
		"--hostname=a/b":                         "not a host name",
		"--net=eth0,addr=99999999999999999999.1.1.1/24":   "want an address",
		"--net=eth0,addr=1.2.3.4/99999999999999999999999": "want an address",
	} {
		var c plan
		c.parse(word)
		if want == "" && c.bad.count > 0 || want != "" && (c.bad.count != 1 || !strings.Contains(c.bad.text, want)) {
			t.Errorf("parse(%q): %s, want %q", word, c.bad.text, want)
		}
	}
	// Two of one kind.
	for _, words := range [][]string{
		{"--net=eth0", "--net=eth0,up"},
		{"--hostname=a", "--hostname=b"},
	} {
		var c plan
		for _, word := range words {
			c.parse(word)
		}
		if c.bad.count != 1 {
			t.Errorf("parse(%q): %d failures %s, want one", words, c.bad.count, c.bad.text)
		}
	}
}

func TestParseKernel(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"":                        "",
		"quiet ip=off":            "",
		"ip=none":                 "",
		"ip=10.0.0.2 ip=off":      "",
		"init=/x -- ip=10.0.0.2":  "",
		"ipx=1 sip=2 net.ifnames": "",
		"ip=10.0.0.2::10.0.0.1:255.255.255.0:box:eth0:off:1.1.1.1:8.8.8.8:9.9.9.9": "eth0 addr=10.0.0.2/24 gw=10.0.0.1 dns 1.1.1.1 dns 8.8.8.8 name box",
		"nfsaddrs=10.0.0.2:10.0.0.9:10.0.0.1:255.255.0.0":                          " addr=10.0.0.2/16 gw=10.0.0.1",
		"ip=192.168.7.2":                      " addr=192.168.7.2/24",
		"ip=172.16.0.2::::":                   " addr=172.16.0.2/16",
		"ip=10.0.0.2:::255.255.255.255::eth1": "eth1 addr=10.0.0.2/32",
		`"ip=10.0.0.2"`:                       " addr=10.0.0.2/8",
		"ip=:::::eth0:off":                    "eth0",
		"ip=:::::eth0:none:1.1.1.1":           "eth0 dns 1.1.1.1",
		"ip=10.0.0.2:::::eth0:dhcp":           "eth0 addr=10.0.0.2/8", // an address is there, so no protocol is needed
		"ip=dhcp|#PROTO: DHCP\ndomain a.example\nnameserver 1.1.1.1\nnameserver 8.8.8.8\nbootserver 0.0.0.0\n": " dns 1.1.1.1 dns 8.8.8.8 search a.example",
		"ip=:::::eth0:dhcp|#PROTO: DHCP\n":                           "",
		"ip=off|#MANUAL\n":                                           "",
		"quiet|#MANUAL\nnameserver 1.1.1.1\n":                        "",
		"ip=10.0.0.2::::::off:1.1.1.1|#MANUAL\nnameserver 1.1.1.1\n": " addr=10.0.0.2/8 dns 1.1.1.1",
		"ip=dhcp|nameserver x\n":                                     "! x: not an address of a name server",
		"ip=dhcp":                                                    "! there is no DHCP client",
		"ip=on":                                                      "! there is no DHCP client",
		"ip=any":                                                     "! there is no DHCP client",
		"ip=both":                                                    "! there is no DHCP client",
		"ip=bootp":                                                   "! there is no DHCP client",
		"ip=":                                                        "! there is no DHCP client",
		"ip=:::::eth0:dhcp":                                          "! there is no DHCP client",
		"ip=:::::eth0":                                               "! there is no DHCP client",
		"ip=bogus":                                                   "! no IPv4 address",
		"ip=[fd00]::::":                                              "! no IPv4 address",
		"ip=10.0.0.2:::255.0.255.0":                                  "! netmask",
		"ip=10.0.0.2::gw":                                            "! gw=gw: want an address",
		"ip=10.0.0.2::::a/b":                                         "! a/b: not a host name",
		"ip=10.0.0.2:::::a/b":                                        "! want the name of an interface",
		"ip=10.0.0.2::::::sometimes":                                 " addr=10.0.0.2/8", /* as for the kernel */
		"ip=10.0.0.2:::::::one":                                      "! one: not an address of a name server",
		"ip=10.0.0.2:::::::::ntp":                                    " addr=10.0.0.2/8", // not used
		"ip=10.0.0.2::::::::::eleven":                                "! more than ten fields",
	} {
		var c plan
		line, pnp, _ := strings.Cut(line, "|")
		c.parseKernel(line, pnp)
		got := ""
		for _, l := range c.links {
			got += l.selector
			for i := range l.items {
				got += " " + l.items[i].text()
			}
		}
		for _, a := range c.dns {
			got += " dns " + a
		}
		for _, domain := range c.search {
			got += " search " + domain
		}
		if c.hostname != "" {
			got += " name " + c.hostname
		}
		if reason, fails := strings.CutPrefix(want, "! "); fails {
			if c.bad.count != 1 || !strings.Contains(c.bad.text, reason) {
				t.Errorf("parseKernel(%q): %s, want %q", line, c.bad.text, reason)
			}
		} else if got != want || c.bad.count != 0 {
			t.Errorf("parseKernel(%q) = %q, %s, want %q", line, got, c.bad.text, want)
		}
	}
}

// FuzzAddress holds the parsers of addresses to those of net/netip.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"10.0.2.15/24", "fd00::2/64", "::", "::1", "1::", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4", "1:2:3:4:5:6:7::", "1::2::3", "1:::2", "fe80::1%eth0", "010.0.0.1", "1.2.3.4/024", ":1", "1:", "::1.2.3.4.5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := netip.ParseAddr(s)
		var got, again, p addr
		ok := got.parse(s)
		if ok != (err == nil && want.Zone() == "") {
			t.Fatalf("parse(%q) = %v, %v, want %v, %v", s, got.text(), ok, want, err)
		}
		if ok && string(got.b[:got.n]) != string(want.AsSlice()) {
			t.Fatalf("parse(%q) = %v, want %v", s, got.text(), want)
		}
		if ok && (!again.parse(got.text()) || again != got) {
			t.Fatalf("parse(%q) prints as %q", s, got.text())
		}
		if ok && !want.Is4In6() && got.text() != want.String() {
			t.Fatalf("%q prints as %q, want %q", s, got.text(), want)
		}
		prefix, err := netip.ParsePrefix(s)
		ok = p.parsePrefix(s)
		if p.fill(false); err == nil && (!ok || p.prefix() != prefix.Masked().String() && !prefix.Addr().Is4In6()) {
			t.Fatalf("parsePrefix(%q) = %v, %v, want %v", s, p.prefix(), ok, prefix)
		}
	})
}

// FuzzWords finds no word that the parsers cannot take, or that makes a line of its own in a file
// of /etc.
func FuzzWords(f *testing.F) {
	f.Add("--net=eth0,addr=10.0.2.15/24,gw=10.0.2.2,route=10.1.0.0/16@10.0.2.3,mac=02:fc:00:00:00:01,mtu=1400", "quiet ip=10.0.0.2::10.0.0.1:255.255.255.0:box:eth0:off:1.1.1.1", "")
	f.Add("--search=a.example,b", "ip=dhcp", "domain a\nnameserver 1.1.1.1")
	f.Fuzz(func(t *testing.T, word, cmdline, pnp string) {
		var c, k plan
		c.parse(word)
		c.parse(word)
		k.parseKernel(cmdline, pnp)
		for _, c := range []plan{c, k} {
			for _, name := range append(c.search, c.hostname) {
				if strings.ContainsAny(name, " \t\r\n\x00") {
					t.Fatalf("parse(%q) has the name %q", word, name)
				}
			}
			for i := range c.links {
				if strings.ContainsAny(c.links[i].selector, " \n\x00/") {
					t.Fatalf("parse(%q) has the interface %q", word, c.links[i].selector)
				}
			}
		}
	})
}

// FuzzNetlink takes whatever comes for an answer of the kernel's.
func FuzzNetlink(f *testing.F) {
	header := func(typ byte, body ...byte) []byte {
		return append([]byte{byte(16 + len(body)), 0, 0, 0, typ, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, body...)
	}
	f.Add(header(unix.NLMSG_DONE), header(unix.NLMSG_ERROR, 0xed, 0xff, 0xff, 0xff))
	f.Add(header(unix.RTM_NEWLINK, 0, 0, 1, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 3, 0, 'e', 't', 'h', '0', 0, 0, 0, 0),
		header(unix.RTM_NEWADDR, 2, 24, 0x80, 0, 2, 0, 0, 0, 8, 0, 2, 0, 10, 0, 2, 15))
	f.Add(header(unix.RTM_NEWLINK, make([]byte, 16)...), header(unix.RTM_NEWROUTE, 2, 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0, 8, 0, 4, 0, 0, 0, 0, 0, 8, 0, 15, 0, 254, 0, 0, 0))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var c conn
		c.answer(first)
		c.answer(second)
		for i := range c.nics {
			n := &c.nics[i]
			for _, it := range n.items {
				if it.to.n == 0 || it.to.bits > 8*it.to.n {
					t.Fatalf("item %+v", it)
				}
			}
			n.fields()
		}
	})
}

package vmm

import (
	"strings"
	"testing"
)

func TestParseNet(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"none": "", "user": "", "user,host-loopback": "", "tap=tap0": "--net=eth0",
		"tap=tap0,addr=10.0.0.2/24,addr=fd00::2/64,gw=10.0.0.1,route=10.1.0.0/16@10.0.0.9,route=10.2.0.0/16,mtu=1400": "--net=eth0,addr=10.0.0.2/24,addr=fd00::2/64,gw=10.0.0.1,route=10.1.0.0/16@10.0.0.9,route=10.2.0.0/16,mtu=1400",
		"tap=tap0,mac=02:fc:00:00:00:07,addr=10.0.0.2":                                                                "--net=eth0,addr=10.0.0.2",

		"": "! want none, user", "NONE": "! want none", "none,": "! want none", "user,": "! want none",
		"user,restrict": "! want none", "bridge=br0": "! want none", "tap": "! want none", "tap0": "! want none",
		"tap=": "! name of a tap", "tap=a/b": "! name of a tap", "tap=..": "! name of a tap",
		"tap=sixteen-letters0": "! name of a tap", "tap=a b": "! name of a tap",
		"tap=tap0,": "! : want addr=", "tap=tap0,addr": "! addr: want addr=", "tap=tap0,addr=": "! addr=: want",
		"tap=tap0,addr=10.0.0": "! addr=10.0.0: want", "tap=tap0,addr=10.0.0.2/33": "! want addr=",
		"tap=tap0,addr=fe80::1%eth0": "! want addr=", "tap=tap0,addr=10.0.0.2/24 init=/x": "! want addr=",
		"tap=tap0,gw=10.0.0.1/24": "! want addr=", "tap=tap0,route=10.0.0.1": "! want addr=",
		"tap=tap0,route=10.0.0.0/8@x": "! want addr=", "tap=tap0,mtu=70000": "! want addr=", "tap=tap0,mtu=-1": "! want addr=",
		"tap=tap0,mac=02:fc:00:00:00": "! want addr=", "tap=tap0,mac=01:fc:00:00:00:01": "! want addr=",
		"tap=tap0,mac=02-fc-00-00-00-01-02-03": "! want addr=", "tap=tap0,down": "! want addr=", "tap=tap0,bogus=1": "! want addr=",
	} {
		n, err := ParseNet(value)
		if reason, bad := strings.CutPrefix(want, "! "); bad {
			if err == nil || !strings.Contains(err.Error(), reason) {
				t.Errorf("ParseNet(%q) = %v, %v, want %q", value, n, err, reason)
			}
			continue
		}
		if err != nil || (n == nil) != (value == "none") {
			t.Errorf("ParseNet(%q) = %v, %v", value, n, err)
		} else if n != nil && n.Tap != "" && strings.Join(n.InitArgs(), " ") != want {
			t.Errorf("ParseNet(%q) has the words %q, want %q", value, n.InitArgs(), want)
		}
	}
	one, _ := ParseNet("tap=tap0")
	two, _ := ParseNet("tap=tap1")
	given, _ := ParseNet("tap=tap0,mac=02:FC:00:00:00:07")
	if one.MAC() == two.MAC() || !strings.HasPrefix(one.MAC(), "02:fc:") || given.MAC() != "02:fc:00:00:00:07" {
		t.Errorf("MAC addresses %s, %s and %s", one.MAC(), two.MAC(), given.MAC())
	}
}

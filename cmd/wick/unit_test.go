package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"wick/framing"
	"wick/framing/client"
)

// TestShellQuote has sh undo the quoting.
func TestShellQuote(t *testing.T) {
	var args []string
	for c := 1; c < 256; c++ {
		args = append(args, string([]byte{byte(c)}), "a"+string([]byte{byte(c)})+"b")
	}
	args = append(args, "", "'", `'\''`, "--", "~", "#x", "a=b", "$(false)", "a\nb")
	out, err := exec.Command("sh", "-c", shellCommand(append([]string{"printf", `%s\001\001`}, args...))).Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Join(args, "\001\001") + "\001\001"; string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestMedian(t *testing.T) {
	for want, list := range map[time.Duration][]time.Duration{1: {1}, 3: {2, 4}, 2: {1, 2, 9}} {
		if got := median(list); got != want {
			t.Errorf("%v: got %v", list, got)
		}
	}
}

// TestProcessTable shows no figure that the guest could not tell.
func TestProcessTable(t *testing.T) {
	var out strings.Builder
	processTable(&out, []client.Process{
		{PID: 7, Kind: framing.KindExec, Command: "unknown"},
		{PID: 8, Kind: framing.KindExec, Command: "idle", Processes: 1},
		{PID: 9, Kind: framing.KindExec, Command: "busy", Processes: 2, CPU: 290 * time.Millisecond, Memory: 5 << 20},
	})
	for i, want := range []string{"ID PID STATE AGE TIME MEM PROCS COMMAND", "- 7 attached 0s - - - unknown",
		"- 8 attached 0s 0s - 1 idle", "- 9 attached 0s 290ms 5.0M 2 busy"} {
		if got := strings.Join(strings.Fields(strings.Split(out.String(), "\n")[i]), " "); got != want {
			t.Errorf("line %d is %q, want %q", i, got, want)
		}
	}
}

// TestNetworkOf parses the facts of a guest, and skips what a later guest may add.
func TestNetworkOf(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(networkOf([]client.Fact{
		{Name: "degraded.network", Value: "configure eth5: no such device"},
		{Name: "net.eth0", Value: "up,mac=02:fc:00:00:00:01,mtu=1400,addr=10.0.2.15/24,addr=fd00::2/64,gw=10.0.2.2,route=10.1.0.0/16@10.0.2.3,new=x"},
		{Name: "net.tun0", Value: "down,mtu=1500"},
		{Name: "resolv.conf", Value: "# mine\nnameserver 10.0.2.3\noptions edns0\nsearch a.example b\nnameserver 10.0.2.4"}, {Name: "hostname", Value: "box"}, {Name: "new", Value: "x"},
	}))
	const want = `{"interfaces":[{"name":"eth0","up":true,"mac":"02:fc:00:00:00:01","mtu":1400,` +
		`"addresses":["10.0.2.15/24","fd00::2/64"],"gateways":["10.0.2.2"],"routes":["10.1.0.0/16@10.0.2.3"]},` +
		`{"name":"tun0","up":false,"mtu":1500,"addresses":[],"gateways":[],"routes":[]}],` +
		`"dns":["10.0.2.3","10.0.2.4"],"search":["a.example","b"],"hostname":"box","degraded":"configure eth5: no such device"}`
	if err != nil || string(got) != want {
		t.Errorf("networkOf is\n%s, %v, want\n%s", got, err, want)
	}
}

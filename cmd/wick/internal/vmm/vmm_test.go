package vmm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var update = flag.Bool("update", false, "rewrite the golden files")

// usual is a machine as "wick run" starts it.
var usual = Spec{
	Arch:   "amd64",
	Kernel: "/k/vmlinux", Initramfs: "/k/initramfs", Drives: []Drive{{Path: "/i/root,1", ReadOnly: true}, {Path: "/i/overlay", Durable: true}},
	Cmdline: []string{"a=b"}, InitArgs: []string{"--hostname=x"},
}

// full is a machine with every choice made the other way.
var full = Spec{
	Arch:   "amd64",
	Kernel: "/k/vmlinux", Drives: []Drive{{Path: "/i/root", ReadOnly: true}}, MemoryMiB: 80, CPUs: 2, Init: "/sbin/vm-init",
	Verbose: true, NoConsole: true, Keyboard: true, CID: 7,
}

func TestCommandLines(t *testing.T) {
	bare := usual
	bare.NoVsock, bare.Drives = true, nil
	arm := usual
	arm.Arch = "arm64"
	armFull := full
	armFull.Arch, armFull.Keyboard = "arm64", false
	user, tap, shared := usual, full, usual
	shared.Shares = []Share{{Path: "/h/a,b", Tag: "v0"}, {Path: "/h/ro", Tag: "v1", ReadOnly: true}, {Path: "/h/fs", Tag: "v2", Socket: "/d/v2"}}
	user.Net = &Net{}
	var err error
	if tap.Net, err = ParseNet("tap=tap0,addr=172.16.0.2/24,gw=172.16.0.1"); err != nil {
		t.Fatal(err)
	}
	more, err := ParseNet("tap=tap1,mac=02:fc:00:00:00:07,addr=172.16.1.2/24")
	if err != nil {
		t.Fatal(err)
	}
	tap.Net.More = []*Net{more}
	for _, s := range []*Spec{&user, &tap} {
		s.InitArgs = s.Net.InitArgs()
	}
	fc := func(s *Spec) []string {
		b, err := FirecrackerConfig(s, "/d/vsock")
		if err != nil {
			t.Fatal(err)
		}
		return append(FirecrackerArgs("api", "/d/config"), string(b))
	}
	for name, args := range map[string][]string{
		"qemu-tcg":         QEMUArgs(&usual, QEMURun{TSCkHz: 2_500_000, VhostSocket: "/d/vhost", QMPFD: 3}),
		"qemu-kvm":         QEMUArgs(&usual, QEMURun{KVM: true, TSCkHz: 2_500_000, VhostSocket: "/d/vhost", QMPFD: 3}),
		"qemu-full":        QEMUArgs(&full, QEMURun{VhostSocket: "/d/vhost"}),
		"qemu-bare":        QEMUArgs(&bare, QEMURun{VhostSocket: "/d/vhost"}),
		"qemu-shared":      QEMUArgs(&shared, QEMURun{KVM: true, VhostFD: 4, QMPFD: 3}),
		"qemu-vhost":       QEMUArgs(&full, QEMURun{KVM: true, VhostFD: 4, QMPFD: 3}),
		"qemu-arm":         QEMUArgs(&arm, QEMURun{VhostSocket: "/d/vhost", QMPFD: 3}),
		"qemu-arm-full":    QEMUArgs(&armFull, QEMURun{KVM: true, VhostFD: 4, QMPFD: 3}),
		"qemu-user":        QEMUArgs(&user, QEMURun{VhostSocket: "/d/vhost", QMPFD: 3, NetFD: 4}),
		"qemu-tap":         QEMUArgs(&tap, QEMURun{KVM: true, VhostFD: 4, QMPFD: 3}),
		"firecracker-tap":  fc(&tap),
		"firecracker":      fc(&usual),
		"firecracker-full": fc(&full),
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(args, "\n") + "\n"
			path := "testdata/" + name + ".golden"
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the command line is\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestChoose(t *testing.T) {
	no := os.ErrNotExist
	works := func(Choice) (Answer, error) { return Answer{KVM: true}, nil }
	fails := func(Choice) (Answer, error) { return Answer{Reason: "hangs", TSCkHz: 5}, nil }
	for _, tt := range []struct {
		name   string
		host   Host
		forced string
		try    Trial
		want   string // backend and engine, or the error
	}{
		{"all there", Host{"amd64", "/f", "/q", nil, nil}, "", works, "firecracker, KVM"},
		{"KVM does not work", Host{"amd64", "/f", "/q", nil, nil}, "", fails, "qemu-vhost, emulated"},
		{"no KVM", Host{"amd64", "/f", "/q", no, no}, "", nil, "qemu, emulated"},
		{"no Firecracker", Host{"amd64", "", "/q", nil, nil}, "", works, "qemu-vhost, KVM"},
		{"QEMU alone", Host{"amd64", "", "/q", nil, no}, "", works, "qemu, KVM"},
		{"forced", Host{"amd64", "/f", "/q", nil, nil}, QEMU, works, "qemu, KVM"},
		{"nothing", Host{"amd64", "", "", nil, nil}, "", nil,
			"find a virtual machine monitor: neither firecracker (with a working KVM) nor qemu-system-x86_64 is here; install QEMU: as root, apt-get install qemu-system-x86, or dnf install qemu-system-x86-core"},
		{"Firecracker without KVM", Host{"amd64", "/f", "", no, no}, Firecracker, nil, "run firecracker: no KVM: file does not exist"},
		{"Firecracker with a bad KVM", Host{"amd64", "/f", "", nil, no}, Firecracker, fails, "run firecracker: KVM does not work here: hangs"},
		{"no Firecracker, forced", Host{"amd64", "", "/q", nil, no}, Firecracker, nil, "run firecracker: no firecracker in the PATH"},
		{"no vhost, forced", Host{"amd64", "", "/q", nil, no}, QEMUVhost, nil, "run qemu-vhost: no vhost-vsock (as root: modprobe vhost_vsock): file does not exist"},
		{"no QEMU, forced", Host{"amd64", "/f", "", nil, no}, QEMU, nil, "run qemu: no qemu-system-x86_64 in the PATH; install QEMU: as root, apt-get install qemu-system-x86, or dnf install qemu-system-x86-core"},
		{"another architecture", Host{"arm64", "", "/q", no, nil}, "", nil, "qemu-vhost, emulated"},
		{"another architecture, no QEMU", Host{"arm64", "", "", no, no}, QEMU, nil,
			"run qemu: no qemu-system-aarch64 in the PATH; install QEMU: as root, apt-get install qemu-system-arm, or dnf install qemu-system-aarch64-core"},
		{"an architecture without a board", Host{"riscv64", "", "", no, no}, QEMU, nil,
			"run qemu: no QEMU in the PATH; there are machines of amd64 and arm64"},
		{"unknown", Host{}, "xen", nil, "run xen: no such backend; there are firecracker, qemu-vhost and qemu"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := tt.host.Choose(tt.forced, tt.try)
			got := c.Engine()
			if err != nil {
				if _, ok := errors.AsType[*BackendError](err); !ok {
					t.Errorf("error %T, want a BackendError", err)
				}
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("chose %q, want %q", got, tt.want)
			}
		})
	}
	broken := errors.New("broken")
	host := Host{"amd64", "/f", "/q", nil, nil}
	if _, err := host.Choose("", func(Choice) (Answer, error) { return Answer{}, broken }); err != broken {
		t.Errorf("a trial that cannot be made: error %v", err)
	}
}

func TestTail(t *testing.T) {
	var all strings.Builder
	tail := NewTail(40, &all)
	for i := range 100 {
		fmt.Fprintf(tail, "line %d\r\n", i)
	}
	if got := strings.Join(tail.Lines(2), "|"); got != "line 98|line 99" {
		t.Errorf("tail %q", got)
	}
	if n := len(tail.Lines(0)); n < 3 || n > 12 {
		t.Errorf("%d lines are kept", n)
	}
	if strings.Count(all.String(), "line") != 100 {
		t.Error("not all was passed on")
	}
	gone := NewTail(40, failing{})
	for range 2 {
		if n, err := gone.Write([]byte("abc")); n != 3 || err != nil {
			t.Errorf("with a reader who left: %d, %v", n, err)
		}
	}
	if got := gone.Lines(0); len(got) != 1 || got[0] != "abcabc" {
		t.Errorf("tail %q", got)
	}
	if NewTail(1, nil).Lines(5) != nil {
		t.Error("an empty tail has lines")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestQMP(t *testing.T) {
	ours, theirs := net.Pipe()
	type ioError struct{ drive, reason string }
	failed := make(chan ioError, 1)
	q := NewQMP(ours, func(drive, reason string) { failed <- ioError{drive, reason} })
	served := make(chan struct{})
	go func() {
		defer close(served)
		defer theirs.Close()
		fmt.Fprintln(theirs, `{"QMP": {"version": {}}}`)
		for in := bufio.NewScanner(theirs); in.Scan(); {
			var c struct{ Execute string }
			if err := json.Unmarshal(in.Bytes(), &c); err != nil {
				t.Error(err)
			}
			fmt.Fprintln(theirs, `{"event": "RESUME", "timestamp": {}}`)
			switch c.Execute {
			case "bad":
				fmt.Fprintln(theirs, `{"error": {"class": "CommandNotFound", "desc": "no bad"}}`)
			case "mute":
				fmt.Fprintln(theirs, `{"event": "BLOCK_IO_ERROR", "data": {"device": "disk1", "node-name": "#b1", "operation": "write", "action": "report", "nospace": true, "reason": "No space left on device"}}`)
			case "quit":
				fmt.Fprintln(theirs, `{"event": "SHUTDOWN", "data": {"guest": false, "reason": "host-qmp-quit"}}`)
				return
			default:
				fmt.Fprintln(theirs, `{"return": {"status": "running"}}`)
			}
		}
	}()
	defer func() { q.Close(); <-served }()
	ctx := t.Context()
	if err := q.Start(ctx); err != nil {
		t.Fatal(err)
	}
	var status struct{ Status string }
	if err := q.Do(ctx, "query-status", nil, &status); err != nil || status.Status != "running" {
		t.Errorf("status %v, %v", status, err)
	}
	if err := q.Do(ctx, "bad", nil, nil); err == nil || err.Error() != "qmp bad: CommandNotFound: no bad" {
		t.Errorf("a refused command: %v", err)
	}
	if err := q.CtrlAltDel(ctx); err != nil {
		t.Error(err)
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if err := q.Do(short, "mute", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no reply: %v", err)
	}
	if got, want := <-failed, (ioError{"disk1", "No space left on device"}); got != want {
		t.Errorf("I/O error %v, want %v", got, want)
	}
	if err := q.Do(ctx, "quit", nil, nil); err == nil {
		t.Error("QEMU left, and the command succeeded")
	}
	<-q.Done()
	if q.Reason() != "host-qmp-quit" {
		t.Errorf("reason %q", q.Reason())
	}
}

// TestMeasureTSC checks that two measurements agree. They would differ if the rate were not
// constant.
func TestMeasureTSC(t *testing.T) {
	one, two := MeasureTSC(), MeasureTSC()
	if one == 0 {
		t.Skip("no time stamp counter on this architecture")
	}
	if d := one - two; d < -one/1000 || d > one/1000 {
		t.Errorf("%d kHz, then %d kHz", one, two)
	}
}

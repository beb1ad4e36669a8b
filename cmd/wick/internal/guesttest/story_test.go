package guesttest

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"wick/cmd/wick/internal/image"
	"wick/cmd/wick/internal/machinetest"
	"wick/cmd/wick/internal/vmm"
)

// TestStory leads a machine that knows its job through its life, by wick alone. Its image has one
// static server, and nothing else. cmd/vm-init/story.md tells the same.
func TestStory(t *testing.T) {
	t.Parallel()
	s := bootShop(t,
		"hostname=shop",
		"mount=label:data:/data:ext4:nodev,required",
		"workload=/shop",
		"workload-wait=configure",
		"workload-ready=port:80",
		"workload-restart=on-failure",
		"workload-end=machine",
		"restore-signal=USR1",
		"end=poweroff",
	)
	s.says("config.mount./data +/dev/vdc line 2\n", "info") // the configuration drive
	s.says("(?m)^disk.vdd .*label=data .*on=/data ", "disk", "show")
	s.says("workload +waiting .*waits for host", "services")

	s.hears("n3v3r-t0ld", "secret", "set", "TOKEN", "--env")
	s.hears("", "configure")
	s.says("", "services", "--wait", "workload")

	s.publish("80")
	s.serves("/", "shop: visit 1, a token of 10 bytes\n")

	s.crashes()
	s.says("", "services", "--wait", "workload")
	s.serves("/", "shop: visit 2, a token of 10 bytes\n")
	s.says("workload +ready +[0-9]+ +1 +137", "services") // one restart, after SIGKILL

	s.says("^epoch 1\n", "restore", "--hostname", "shop-2")
	s.serves("/restored", "epoch 1\n")
	s.serves("/", "shop-2: visit 3, a token of 10 bytes\n")

	s.hears("workload-restart=no\n", "configure")
	s.quits(7, "open\nopen\nrestored, epoch 1\nclosing\n")
	s.v.console.await(t, "warn workload ended code=7 restart=no end=machine", 1)
	s.v.goneBy("guest-shutdown")

	s.left("/visits", "3\n", s.data)
	s.left("/upper/var/log/wick/last", "(?m)^workload.code=7$", s.overlay)
	s.forgot("n3v3r-t0ld")
}

// shop is a machine with a server, and wick.
type shop struct {
	*wickIn
	v             *vm
	overlay, data string // disks
	url           string // of the published port
}

// bootShop boots a scratch image with a static server, with a configuration drive and a data
// volume.
func bootShop(t *testing.T, lines ...string) *shop {
	t.Helper()
	l := needFixture(t)
	s := &shop{wickIn: newWick(t)}
	server, err := machinetest.Program(deadline(t, bootLimit), l.Kernel.Arch, "wick/cmd/wick/internal/guesttest/shop")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/shop", server, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := image.Build(deadline(t, bootLimit), l.Store, l.Kernel.Arch, dir, file(t, l.init))
	machinetest.Need(t, err)
	c := working(t, l, lines...)
	s.overlay, s.data = c.Drives[1].Path, volume(t, "data")
	c.Drives[0].Path = root.Path
	c.Drives = append(c.Drives, vmm.Drive{Path: s.data})
	s.v, _ = boot(t, l, c)
	return s
}

// wick returns a command of wick in the machine.
func (s *shop) wick(args ...string) *exec.Cmd {
	return s.command(append([]string{"--to", "firecracker:" + s.v.UDS(), "--connect-timeout", stepLimit.String()}, args...)...)
}

// says runs wick, which prints something that matches want.
func (s *shop) says(want string, args ...string) {
	s.t.Helper()
	s.hearsAndSays("", want, args...)
}

// hears runs wick, which reads text.
func (s *shop) hears(text string, args ...string) {
	s.t.Helper()
	s.hearsAndSays(text, "", args...)
}

func (s *shop) hearsAndSays(text, want string, args ...string) {
	s.t.Helper()
	cmd := s.wick(args...)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	if err != nil || !regexp.MustCompile(want).Match(out) {
		s.t.Fatalf("wick %q: %v, %q, want %q", args, err, out, want)
	}
}

// publish publishes a port of the machine at a port of this host.
func (s *shop) publish(port string) {
	s.t.Helper()
	forward := s.wick("forward", "0:"+port)
	out, err := forward.StdoutPipe()
	if err == nil {
		err = forward.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		forward.Process.Kill()
		forward.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	s.url = "http://" + regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line)
	if s.url == "http://" {
		s.t.Fatalf("wick forward prints %q, %v, want where it listens", line, err)
	}
}

// get gets a page of the server.
func (s *shop) get(path string) (string, error) {
	web := http.Client{Timeout: stepLimit, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := web.Get(s.url + path)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return string(text), err
}

// serves gets a page from the published port.
func (s *shop) serves(path, want string) {
	s.t.Helper()
	if got, err := s.get(path); got != want || err != nil {
		s.t.Fatalf("GET %s: %q, %v, want %q", path, got, err, want)
	}
}

// crashes makes the server crash, and waits until that is known.
func (s *shop) crashes() {
	s.t.Helper()
	if got, err := s.get("/crash"); err == nil {
		s.t.Errorf("GET /crash: %q, want no answer", got)
	}
	s.v.console.await(s.t, `warn workload ended code=137 signal=SIGKILL restart="in 0.1s"`, 1)
}

// quits makes the server end, under a wick that is attached to it.
func (s *shop) quits(code int, want string) {
	s.t.Helper()
	attach := s.wick("attach", "--no-stdin", "workload")
	var out bytes.Buffer
	attach.Stdout, attach.Stderr = &out, &out
	if err := attach.Start(); err != nil {
		s.t.Fatal(err)
	}
	if got, err := s.get("/quit"); err == nil {
		s.t.Errorf("GET /quit: %q, want no answer", got)
	}
	attach.Wait()
	if got := attach.ProcessState.ExitCode(); got != code || out.String() != want {
		s.t.Errorf("wick attach: exit code %d, %q, want %d, %q", got, out.String(), code, want)
	}
}

// left checks a file on a disk that the machine has left.
func (s *shop) left(name, want, disk string) {
	s.t.Helper()
	wantClean(s.t, disk)
	if got, err := e2fs(s.t, "debugfs", "-R", "cat "+name, disk); err != nil || !regexp.MustCompile(want).MatchString(got) {
		s.t.Errorf("%s has %q, %v, want %q", name, got, err, want)
	}
}

// forgot checks that neither a disk nor the console has a text.
func (s *shop) forgot(text string) {
	s.t.Helper()
	for _, disk := range []string{s.overlay, s.data} {
		content, err := os.ReadFile(disk)
		if err != nil {
			s.t.Fatal(err)
		}
		if bytes.Contains(content, []byte(text)) {
			s.t.Errorf("%s has the secret", disk)
		}
	}
	if all, _ := s.v.console.look(); strings.Contains(all, text) {
		s.t.Error("the console has the secret")
	}
}

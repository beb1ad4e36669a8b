package guesttest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"wick/cmd/wick/internal/machine"
	"wick/cmd/wick/internal/vmm"
)

// standInEnv makes this test's program a stand-in for Firecracker: its API in front of a machine
// of QEMU. It resets the vsock connections where Firecracker does. A loaded machine is the one
// that was saved, which runs on, behind a socket of its own.
const standInEnv = "WICK_GUEST_STAND_IN"

func standIn() {
	argument := func(name string) string {
		if i := slices.Index(os.Args, name); i > 0 {
			return os.Args[i+1]
		}
		return ""
	}
	failed := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "stand-in:", err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	dir, err := os.Getwd()
	failed(err)
	var m *machine.Machine
	if config := argument("--config-file"); config != "" {
		m, err = standInMachine(ctx, dir, config)
		failed(err)
		go func() { <-m.Done(); os.Exit(0) }()
	}
	ln, err := net.Listen("unix", argument("--api-sock"))
	failed(err)
	failed(http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		json.NewDecoder(r.Body).Decode(&body)
		var err error
		switch r.Method + " " + r.URL.Path {
		case "GET /version":
			io.WriteString(w, `{"firecracker_version": "1.12.0"}`)
			return
		case "PATCH /vm":
			if body["state"] == "Paused" {
				err = m.Pause(ctx)
			} else {
				err = m.Unpause(ctx)
			}
		case "PUT /snapshot/create":
			if err = m.Reset(); err == nil {
				err = os.WriteFile(body["snapshot_path"].(string), []byte(m.UDS()), 0o600)
			}
			if err == nil {
				err = os.WriteFile(body["mem_file_path"].(string), nil, 0o600)
			}
		case "PUT /snapshot/load":
			var uds []byte
			if uds, err = os.ReadFile(body["snapshot_path"].(string)); err == nil {
				err = standInCopy(dir, string(uds))
			}
		}
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			json.NewEncoder(w).Encode(map[string]string{"fault_message": err.Error()})
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})))
}

// standInMachine starts the machine of a configuration of Firecracker. One without a vsock device
// is a trial, which only has to get to a panic.
func standInMachine(ctx context.Context, dir, config string) (*machine.Machine, error) {
	text, err := os.ReadFile(config)
	if err != nil {
		return nil, err
	}
	var c struct {
		Boot struct {
			Kernel string `json:"kernel_image_path"`
			Args   string `json:"boot_args"`
			Initrd string `json:"initrd_path"`
		} `json:"boot-source"`
		Drives []struct {
			Path     string `json:"path_on_host"`
			ReadOnly bool   `json:"is_read_only"`
		} `json:"drives"`
		Machine struct {
			Memory int `json:"mem_size_mib"`
		} `json:"machine-config"`
		Vsock *struct {
			UDS string `json:"uds_path"`
		} `json:"vsock"`
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, err
	}
	if c.Vsock == nil {
		fmt.Println("Kernel panic - not syncing: no root")
		os.Exit(0)
	}
	words, args, _ := strings.Cut(c.Boot.Args, " -- ")
	spec := vmm.Spec{
		Kernel: c.Boot.Kernel, Initramfs: c.Boot.Initrd, MemoryMiB: c.Machine.Memory, InitArgs: strings.Fields(args),
		Cmdline: slices.DeleteFunc(strings.Fields(words), func(w string) bool { return w == "reboot=k" || strings.HasPrefix(w, "i8042") }),
	}
	for _, d := range c.Drives {
		spec.Drives = append(spec.Drives, vmm.Drive{Path: d.Path, ReadOnly: d.ReadOnly})
	}
	host := vmm.Look(runtime.GOARCH)
	choice := vmm.Choice{Backend: vmm.QEMU, Program: host.QEMU, TSCkHz: vmm.MeasureTSC()}
	return machine.Start(ctx, machine.Config{Spec: spec, Choice: choice, Dir: dir, Console: os.Stdout})
}

// standInCopy leads the socket in dir to the machine at uds, and connects the machine to the host
// of the copy.
func standInCopy(dir, uds string) error {
	own := filepath.Join(dir, "vsock")
	ln, err := net.Listen("unix", own)
	if err != nil {
		return err
	}
	join := func(one, two net.Conn) {
		defer one.Close()
		defer two.Close()
		done := make(chan bool, 2)
		go func() { io.Copy(one, two); done <- true }()
		go func() { io.Copy(two, one); done <- true }()
		<-done
	}
	go func() {
		for {
			from, err := ln.Accept()
			if err != nil {
				return
			}
			if to, err := net.Dial("unix", uds); err == nil {
				go join(from, to)
			}
		}
	}()
	go func() {
		for ; ; time.Sleep(10 * time.Millisecond) { // as the guest does
			host, err := net.Dial("unix", own+"_1000")
			if err != nil {
				continue
			}
			guest, err := net.Dial("unix", uds)
			if err != nil {
				return
			}
			io.WriteString(guest, "CONNECT 1000\n")
			for b := make([]byte, 1); b[0] != '\n'; {
				if _, err := guest.Read(b); err != nil {
					return
				}
			}
			join(host, guest)
		}
	}()
	return nil
}

// TestSnapshot saves a machine that stays and runs a copy of it, on a Firecracker that is a
// stand-in. The machine's command and its supervisor survive that all connections end.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err != nil {
		t.Skip("wick runs no Firecracker without /dev/kvm: ", err)
	} else {
		f.Close()
	}
	slots <- struct{}{}
	defer func() { <-slots }()
	w := newWick(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := fmt.Sprintf("#!/bin/sh\nexec env %s=1 %s \"$@\"\n", standInEnv, self)
	if err := os.WriteFile(filepath.Join(w.dir, "bin/firecracker"), []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	w.env = []string{"PATH=" + filepath.Join(w.dir, "bin") + ":" + os.Getenv("PATH")}
	published := filepath.Join(w.dir, "published")
	const script = `httpd -p 80 -h /root; i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.05; done`
	w.run(0, "run", "-d", "--name", "web", "--vmm", "firecracker", "--mem", "96", "-p", "unix:"+published+":80", "--", "sh", "-c", script)
	w.until("web", "tick 1\n")
	w.run(0, "exec", "web", "sh", "-c", "echo orig >/root/name")
	dir := filepath.Join(w.dir, "snap")
	if got := w.run(0, "snapshot", "web", dir); got != dir+"\n" {
		t.Errorf("snapshot printed %q, want %q", got, dir)
	}
	last := strings.TrimSpace(w.run(0, "logs", "-n", "1", "web"))
	w.until("web", fmt.Sprintf("tick %d\n", number(t, last)+40))
	if got := w.status("web"); got != "running 0" {
		t.Errorf("the machine is %s after it was saved, want running", got)
	}
	if conn, err := net.Dial("unix", published); err != nil {
		t.Error(err)
	} else {
		io.WriteString(conn, "GET /name HTTP/1.0\r\n\r\n")
		conn.SetReadDeadline(time.Now().Add(stepLimit))
		if text, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(text), "\r\n\r\norig\n") {
			t.Errorf("the published port answers %q, %v, after the machine was saved", text, err)
		}
		conn.Close()
	}
	w.run(1, "snapshot", "web", dir) // it is there
	w.run(125, "run", "--from", dir, "--mem", "64")
	w.run(0, "run", "-d", "--name", "copy", "--from", dir)
	w.until("copy", "tick ")
	if got := w.run(0, "exec", "copy", "cat", "/root/name", "/run/wick/generation"); got != "orig\n1\n" {
		t.Errorf("the copy has %q, want the name and the epoch 1", got)
	}
	if got := w.run(0, "inspect", "-f", "{{.MemoryMiB}} {{.Backend}} {{index .Command 0}}", "copy"); got != "96 firecracker sh\n" {
		t.Errorf("the copy is %q", got)
	}
	w.run(0, "rm", "-f", "copy")
	w.run(0, "stop", "-t", "0", "web")
	if got := w.status("web"); got != "stopped 137" {
		t.Errorf("after stop it is %s, want stopped 137", got)
	}
}

// saved saves a machine of QEMU and runs a copy, if QEMU can save its vsock device. Otherwise wick
// says why, and the machine is as before.
func (w *wickIn) saved(name string) {
	w.t.Helper()
	dir := filepath.Join(w.dir, "saved")
	if strings.TrimSpace(w.run(0, "inspect", "-f", "{{.Backend}}", name)) != vmm.QEMU {
		w.run(0, "snapshot", name, dir)
		w.run(0, "run", "-d", "--name", "copy", "--from", dir)
		w.run(0, "exec", "copy", "true")
		w.run(0, "rm", "-f", "copy")
		return
	}
	before, _ := os.ReadDir(w.dir)
	out, err := w.command("snapshot", name, dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "QEMU cannot save the vsock device of the backend qemu; run the machine with --vmm ") {
		w.t.Errorf("snapshot: %q, %v, want the reason", out, err)
	}
	if after, _ := os.ReadDir(w.dir); len(after) != len(before) {
		w.t.Errorf("there is %v after a snapshot that failed, and there was %v", after, before)
	}
	w.run(0, "exec", name, "true")
}

func number(t *testing.T, tick string) (n int) {
	t.Helper()
	if _, err := fmt.Sscanf(tick, "tick %d", &n); err != nil {
		t.Fatalf("%q: %v", tick, err)
	}
	return n
}

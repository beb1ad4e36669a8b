package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"wick/cmd/wick/internal/vmm"
)

// standInEnv makes this test's program a stand-in for Firecracker. It serves the requests of the
// API that wick sends, as Firecracker's description of it has them, and runs no machine. Its value
// is what goes wrong.
const standInEnv = "WICK_STAND_IN"

// The faults of a stand-in when it is to save.
const (
	faultNone    = "none"
	faultRefuses = "refuses"
	faultDies    = "dies"
	faultHangs   = "hangs"
)

// standIn serves the API at the socket that the command line names, and prints each request.
func standIn() {
	i := slices.Index(os.Args, "--api-sock")
	ln, err := net.Listen("unix", os.Args[i+1])
	if err != nil {
		panic(err)
	}
	fault := os.Getenv(standInEnv)
	paused := false
	http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		fmt.Printf("%s %s %s\n", r.Method, r.URL.Path, text)
		var body struct {
			State   string `json:"state"`
			Type    string `json:"snapshot_type"`
			Path    string `json:"snapshot_path"`
			Memory  string `json:"mem_file_path"`
			Resume  bool   `json:"resume_vm"`
			Backend struct {
				Type string `json:"backend_type"`
				Path string `json:"backend_path"`
			} `json:"mem_backend"`
		}
		json.Unmarshal(text, &body)
		refuse := func(why string) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"fault_message": %q}`, why)
		}
		switch r.Method + " " + r.URL.Path {
		case "GET /version":
			io.WriteString(w, `{"firecracker_version": "1.12.0"}`)
			return
		case "PATCH /vm":
			paused = body.State == "Paused"
		case "PUT /snapshot/create":
			switch {
			case fault == faultDies:
				os.Exit(1)
			case fault == faultHangs:
				<-r.Context().Done()
				return
			case fault == faultRefuses || !paused || body.Type != "Full":
				refuse("Cannot create the snapshot")
				return
			}
			os.WriteFile(body.Path, []byte("state"), 0o600)
			os.WriteFile(body.Memory, []byte("memory"), 0o600)
		case "PUT /snapshot/load":
			state, err := os.ReadFile(body.Path)
			memory, err2 := os.ReadFile(body.Backend.Path)
			disk, err3 := os.Readlink("disk1")
			if err := errors.Join(err, err2, err3); err != nil || string(state)+string(memory) != "statememory" || !body.Resume || body.Backend.Type != "File" {
				refuse(fmt.Sprint("Cannot load: ", err))
				return
			}
			fmt.Println("runs with", disk)
		default:
			refuse("no such request")
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
}

// standInChoice returns a Firecracker that is a stand-in.
func standInChoice(t *testing.T, fault string) vmm.Choice {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return fake(t, fmt.Sprintf("exec env %s=%s %s \"$@\"", standInEnv, fault, self))
}

// requests returns the requests that a stand-in got, without the paths of files.
func requests(m *Machine) []string {
	var got []string
	for _, line := range m.ConsoleTail(0) {
		if strings.HasPrefix(line, "PUT /snapshot") {
			line, _, _ = strings.Cut(line, " {")
		}
		got = append(got, strings.TrimSpace(line))
	}
	return got
}

// TestSaveFirecracker saves a machine by the requests of Firecracker's API, and loads it. After
// each fault the machine goes on, and nothing of the snapshot is left.
func TestSaveFirecracker(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	root, disk := filepath.Join(tmp, "root"), filepath.Join(tmp, "disk")
	if err := errors.Join(os.WriteFile(root, []byte("root"), 0o600), os.WriteFile(disk, []byte("disk"), 0o600)); err != nil {
		t.Fatal(err)
	}
	started := func(fault string, c Config) (*Machine, error) {
		c.Choice, c.Dir = standInChoice(t, fault), socketDir(t)
		m, err := Start(testContext(t), c)
		if err == nil {
			t.Cleanup(func() { m.Kill() })
		}
		return m, err
	}
	spec := vmm.Spec{Kernel: root, Drives: []vmm.Drive{{Path: root, ReadOnly: true}, {Path: disk}}}
	dir := filepath.Join(tmp, "saved")
	m, err := started(faultNone, Config{Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Save(testContext(t), dir, Use{}, false); err != nil {
		t.Fatal(err)
	}
	want := []string{"GET /version", `PATCH /vm {"state":"Paused"}`, "PUT /snapshot/create", `PATCH /vm {"state":"Resumed"}`}
	if got := requests(m); !slices.Equal(got, want) {
		t.Errorf("requests %q, want %q", got, want)
	}
	var names []string
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		names = append(names, f.Name())
	}
	if got, want := strings.Join(names, " "), "disk2 kernel memory snapshot.json state"; got != want {
		t.Errorf("the snapshot has %s, want %s", got, want)
	}

	saved, err := ReadSaved(dir)
	if err != nil {
		t.Fatal(err)
	}
	copied := spec
	copied.Drives = []vmm.Drive{{Path: filepath.Join(dir, saved.Spec.Drives[0].Path), ReadOnly: true}, {Path: filepath.Join(tmp, "copy")}}
	m, err = started(faultNone, Config{Spec: copied, Saved: &SavedState{Dir: dir, Version: saved.Version}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := requests(m), []string{"GET /version", "PUT /snapshot/load", "runs with " + filepath.Join(tmp, "copy")}; !slices.Equal(got, want) {
		t.Errorf("requests %q, want %q", got, want)
	}
	_, err = started(faultNone, Config{Spec: copied, Saved: &SavedState{Dir: dir, Version: "1.0.0"}})
	if err == nil || !strings.Contains(err.Error(), "is of version 1.0.0 of the monitor, and this is 1.12.0; take it again here") {
		t.Errorf("another version: %v", err)
	}
	_, err = started(faultNone, Config{Spec: copied, Saved: &SavedState{Dir: tmp, Version: saved.Version}})
	if err == nil || !strings.Contains(err.Error(), "Cannot load: open ") {
		t.Errorf("a directory without a snapshot: %v", err)
	}

	for fault, want := range map[string]string{
		faultRefuses: "save the machine: firecracker PUT /snapshot/create: Cannot create the snapshot",
		faultDies:    "EOF",
		faultHangs:   context.Canceled.Error(),
	} {
		m, err := started(fault, Config{Spec: spec})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(testContext(t))
		if fault == faultHangs {
			go func() {
				for ctx.Err() == nil && !slices.Contains(requests(m), "PUT /snapshot/create") {
					runtime.Gosched()
				}
				cancel()
			}()
		}
		err = m.Save(ctx, filepath.Join(tmp, "bad"), Use{}, false)
		cancel()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: Save = %v, want %s", fault, err, want)
		}
		if got := requests(m); fault != faultDies && got[len(got)-1] != `PATCH /vm {"state":"Resumed"}` {
			t.Errorf("%s: the last request is %q, want that the machine goes on", fault, got)
		}
	}
	if left, _ := os.ReadDir(tmp); len(left) != 3 {
		t.Errorf("there is %v, want two files and a snapshot", left)
	}
	if _, err := ReadSaved(tmp); err == nil || !strings.Contains(err.Error(), "so wick snapshot did not make it") {
		t.Errorf("ReadSaved of another directory = %v", err)
	}
	if _, err := ReadSaved(filepath.Join(tmp, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadSaved of a missing directory = %v", err)
	}
}

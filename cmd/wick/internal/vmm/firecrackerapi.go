package vmm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"
)

// FirecrackerAPI is the API of a Firecracker, at its Unix socket
// (src/firecracker/swagger/firecracker.yaml in its source).
type FirecrackerAPI struct {
	socket string
	ended  <-chan struct{}
	client *http.Client
}

// errEnded reports a Firecracker that is gone.
var errEnded = errors.New("firecracker ended")

// NewFirecrackerAPI returns the API at a socket, which Firecracker may still have to make. ended is
// closed when Firecracker has ended.
func NewFirecrackerAPI(socket string, ended <-chan struct{}) *FirecrackerAPI {
	a := &FirecrackerAPI{socket: socket, ended: ended}
	a.client = &http.Client{Transport: &http.Transport{DialContext: a.dial, DisableKeepAlives: true}}
	return a
}

// dialPause is the time between two attempts to connect.
const dialPause = 5 * time.Millisecond

// dial waits for the socket, until ctx or Firecracker ends.
func (a *FirecrackerAPI) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "unix", a.socket)
		if err == nil {
			return conn, nil
		}
		select {
		case <-a.ended:
			return nil, errEnded
		case <-ctx.Done():
			return nil, err
		case <-time.After(dialPause):
		}
	}
}

// maxFault limits an answer, in bytes.
const maxFault = 64 << 10

// do sends a request, and decodes the answer into result, unless that is nil.
func (a *FirecrackerAPI) do(ctx context.Context, method, path string, body, result any) error {
	fail := func(err error) error { return fmt.Errorf("firecracker %s %s: %w", method, path, err) }
	var text []byte
	var err error
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return fail(err)
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, bytes.NewReader(text))
	if err != nil {
		return fail(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := a.client.Do(r)
	if err != nil {
		return fail(err)
	}
	defer answer.Body.Close()
	text, err = io.ReadAll(io.LimitReader(answer.Body, maxFault))
	if answer.StatusCode/100 != 2 {
		var fault struct {
			Message string `json:"fault_message"`
		}
		if json.Unmarshal(text, &fault) != nil || fault.Message == "" {
			fault.Message = answer.Status
		}
		return fail(errors.New(fault.Message))
	}
	if err == nil && result != nil {
		err = json.Unmarshal(text, result)
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

// Pause stops the machine's processors, and Resume lets them go on. Either may be repeated.
func (a *FirecrackerAPI) Pause(ctx context.Context) error { return a.setState(ctx, "Paused") }

// Resume lets the processors of a paused machine go on.
func (a *FirecrackerAPI) Resume(ctx context.Context) error { return a.setState(ctx, "Resumed") }

func (a *FirecrackerAPI) setState(ctx context.Context, state string) error {
	return a.do(ctx, http.MethodPatch, "/vm", map[string]any{"state": state}, nil)
}

// Version returns Firecracker's version, such as 1.12.0.
func (a *FirecrackerAPI) Version(ctx context.Context) (string, error) {
	var v struct {
		Version string `json:"firecracker_version"`
	}
	err := a.do(ctx, http.MethodGet, "/version", nil, &v)
	return v.Version, err
}

// Save writes the state of a paused machine to two new files. It resets the machine's vsock
// connections.
func (a *FirecrackerAPI) Save(ctx context.Context, state, memory string) error {
	return a.do(ctx, http.MethodPut, "/snapshot/create", map[string]any{
		"snapshot_type": "Full", "snapshot_path": state, "mem_file_path": memory,
	}, nil)
}

// Load makes and runs the machine whose state is in two files, in a Firecracker without one. The
// machine reads the file of the memory as long as it runs.
func (a *FirecrackerAPI) Load(ctx context.Context, state, memory string) error {
	return a.do(ctx, http.MethodPut, "/snapshot/load", map[string]any{
		"snapshot_path": state, "resume_vm": true,
		"mem_backend": map[string]any{"backend_type": "File", "backend_path": memory},
	}, nil)
}

// FirecrackerSocket is the name of the API's socket in the machine's directory.
const FirecrackerSocket = "api"

// FirecrackerDisk is the name of a drive in the machine's directory. A snapshot has these names, so
// that a copy has disks of its own in its directory.
func FirecrackerDisk(i int) string { return fmt.Sprintf("disk%d", i) }

// FirecrackerVsock is the name of the vsock device's socket in the machine's directory.
const FirecrackerVsock = "vsock"

// Inside returns the specification for a Firecracker that runs in a directory, which has links to
// the drives, and the links by their names.
func (s *Spec) Inside(dir string) (inside Spec, links map[string]string, err error) {
	inside, links = *s, map[string]string{}
	inside.Drives = append([]Drive(nil), s.Drives...)
	for i := range inside.Drives {
		path, err := filepath.Abs(inside.Drives[i].Path)
		if err != nil {
			return inside, nil, err
		}
		name := FirecrackerDisk(i)
		inside.Drives[i].Path, links[filepath.Join(dir, name)] = name, path
	}
	for _, path := range []*string{&inside.Kernel, &inside.Initramfs} {
		if *path != "" {
			if *path, err = filepath.Abs(*path); err != nil {
				return inside, nil, err
			}
		}
	}
	return inside, links, nil
}

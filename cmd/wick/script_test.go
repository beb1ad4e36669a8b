package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rogpeppe/go-internal/testscript"

	"wick/framing"
	"wick/framing/client/clienttest"
)

func TestMain(m *testing.M) {
	version = "v1.2.3-test"
	testscript.Main(tests{m}, map[string]func(){"wick": func() {
		if limit, err := time.ParseDuration(os.Getenv(unwindEnv)); err == nil {
			unwindLimit = limit
		}
		main()
	}})
}

// unwindEnv makes wick wait longer for a command to clean up. A command that does not clean up is
// then noticed on the slowest machine.
const unwindEnv = "WICK_TEST_UNWIND"

// interruptLimit is how long an interrupted command may take. A good one takes milliseconds.
const interruptLimit = time.Minute

// tests runs them, and takes away what they share.
type tests struct{ m *testing.M }

func (t tests) Run() int {
	defer clienttest.RemoveAgent()
	return t.m.Run()
}

// TestScripts runs the golden transcripts. They have these commands besides testscript's own:
//
//	guest KIND PATH    start a guest at $WORK/PATH, reachable as KIND says, with an agent that is
//	                   older than the extension
//	agent PATH [OPTION...]
//	                   start the real agent at $WORK/PATH
//	code N CMD...      run CMD, which must exit with N
//	interrupt WHEN CMD...
//	                   run CMD, send it SIGINT, and expect exit code 130 soon; WHEN is got:MESSAGE (a
//	                   guest got one), or the path of a socket (it exists) or FIFO (CMD opens it)
//	fifo PATH [DATA]   make a FIFO that gives DATA to its reader
//	size PATH N        make a file of N zeros
//	echo NETWORK ADDR  start a server that sends back what it gets; $ADDR is where
//	registry NAME...   start a registry at $REGISTRY with an image of each name, for amd64, which
//	                   have a layer in common
//	ask NETWORK ADDR TEXT...
//	                   connect as soon as possible, send TEXT, shut down writing, print the answer
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Condition: func(name string) (bool, error) {
			return name == "root" && os.Getuid() == 0, nil
		},
		Setup: func(env *testscript.Env) error {
			env.Values["frames"] = make(chan framing.Header, 1000)
			env.Setenv("WICK_TO", "unix:"+filepath.Join(env.WorkDir, "guest.sock"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"agent": func(ts *testscript.TestScript, _ bool, args []string) {
				a, err := clienttest.StartAgent(ts.MkAbs(args[0]), args[1:]...)
				ts.Check(err)
				ts.Defer(func() { a.Stop() })
			},
			"guest": startGuest, "code": code, "interrupt": interrupt, "fifo": fifo, "size": size, "echo": echo, "ask": ask, "registry": startRegistry,
		},
	})
}

func startGuest(ts *testscript.TestScript, _ bool, args []string) {
	kind, path := args[0], ts.MkAbs(args[1])
	frames := ts.Value("frames").(chan framing.Header)
	g := &clienttest.Guest{Dir: ts.MkAbs("root"), OnFrame: func(h framing.Header) { frames <- h }}
	ts.Check(os.MkdirAll(g.Dir, 0o755))
	ts.Defer(g.Close)
	switch kind {
	case "listens":
		ts.Check(g.Listen(path))
	case "connects":
		g.Connect(path)
	case "firecracker":
		ts.Check(g.ListenFirecracker(path, "1000"))
	case "broken":
		g.BootError = "mount /dev/vdb: no such device"
		ts.Check(g.Listen(path))
	case "mute":
		g.Mute = true
		ts.Check(g.Listen(path))
	case "old":
		g.Old = true
		ts.Check(g.Listen(path))
	default:
		ts.Fatalf("guest: no kind %q", kind)
	}
}

func code(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := exitOf(ts, ts.Exec(args[1], args[2:]...)); got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func exitOf(ts *testscript.TestScript, err error) int {
	if err == nil {
		return 0
	}
	e, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		ts.Fatalf("%v", err)
	}
	return e.ExitCode()
}

func interrupt(ts *testscript.TestScript, _ bool, args []string) {
	frames := ts.Value("frames").(chan framing.Header)
	for len(frames) > 0 {
		<-frames
	}
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "WICK_TO="+ts.Getenv("WICK_TO"), unwindEnv+"=1h")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	ts.Check(cmd.Start())
	happened := make(chan io.Closer, 1)
	go func() { happened <- await(args[0], ts.MkAbs(args[0]), frames) }()
	select {
	case c := <-happened:
		defer c.Close()
	case <-time.After(interruptLimit):
		cmd.Process.Kill()
		ts.Fatalf("there is no %s", args[0])
	}
	ts.Check(cmd.Process.Signal(syscall.SIGINT))
	late := time.AfterFunc(interruptLimit, func() { cmd.Process.Kill() })
	err := cmd.Wait()
	if !late.Stop() {
		ts.Fatalf("it does not end within %v", interruptLimit)
	}
	if got := exitOf(ts, err); got != 130 {
		ts.Fatalf("exit code %d, want 130", got)
	}
}

// await waits for the event WHEN of interrupt. The caller must close the result when the command
// has ended.
func await(when, path string, frames <-chan framing.Header) io.Closer {
	if message, ok := strings.CutPrefix(when, "got:"); ok {
		for (<-frames).Type.String() != message {
		}
		return io.NopCloser(nil)
	}
	info, err := os.Stat(path)
	for ; err != nil; info, err = os.Stat(path) {
		time.Sleep(time.Millisecond)
	}
	if info.Mode().Type() == os.ModeNamedPipe {
		// This waits until the other end is opened. An error shows in the end of the command.
		f, _ := os.OpenFile(path, os.O_WRONLY, 0)
		return f
	}
	return io.NopCloser(nil)
}

func fifo(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	ts.Check(syscall.Mkfifo(path, 0o600))
	if len(args) == 1 {
		return
	}
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(path, []byte(args[1]), 0) }()
	ts.Defer(func() { ts.Check(<-written) })
}

func size(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	path := ts.MkAbs(args[0])
	ts.Check(os.WriteFile(path, nil, 0o644))
	ts.Check(os.Truncate(path, n))
}

func startRegistry(ts *testscript.TestScript, _ bool, args []string) {
	server := httptest.NewServer(imageRegistry())
	ts.Defer(server.Close)
	address := strings.TrimPrefix(server.URL, "http://")
	ts.Setenv("REGISTRY", address)
	for _, image := range args {
		_, err := pushImage(address, image)
		ts.Check(err)
	}
}

// imageRegistry returns an empty registry.
func imageRegistry() http.Handler { return registry.New(registry.Logger(log.New(io.Discard, "", 0))) }

// pushImage pushes an image for amd64 with two layers, and returns their digests.
func pushImage(address, image string) (digests []string, err error) {
	img := empty.Image
	for _, content := range []string{"common", image} {
		layer := static.NewLayer(packFile(content), types.OCIUncompressedLayer)
		digest, err := layer.Digest()
		if err != nil {
			return nil, err
		}
		digests = append(digests, digest.String())
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			return nil, err
		}
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Config.Labels = "linux", "amd64", map[string]string{"for": image}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return nil, err
	}
	ref, err := name.ParseReference(address + "/" + image)
	if err != nil {
		return nil, err
	}
	return digests, remote.Write(ref, img)
}

// packFile returns a tar of one file.
func packFile(content string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "file", Size: int64(len(content))})
	io.WriteString(w, content)
	w.Close()
	return b.Bytes()
}

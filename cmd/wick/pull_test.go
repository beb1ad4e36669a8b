package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// slowRegistry serves an image of two layers at the returned name. It sends the beginning of a
// layer, calls begun, and sends the rest when may is closed. It gives up when the client does.
func slowRegistry(t *testing.T, begun func(), may <-chan struct{}) (image string) {
	t.Helper()
	inner := imageRegistry()
	var layers sync.Map // digests; a goroutine of the push may still ask for one
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		digest := filepath.Base(r.URL.Path)
		if _, layer := layers.Load(digest); r.Method != http.MethodGet || !layer {
			inner.ServeHTTP(w, r)
			return
		}
		rec := httptest.NewRecorder()
		inner.ServeHTTP(rec, r)
		w.Write(rec.Body.Bytes()[:100])
		w.(http.Flusher).Flush()
		begun()
		select {
		case <-may:
			w.Write(rec.Body.Bytes()[100:])
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	address := strings.TrimPrefix(server.URL, "http://")
	digests, err := pushImage(address, "app")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range digests {
		layers.Store(d, true)
	}
	return address + "/app"
}

// TestPullShown pulls on a terminal, which shows layers and bytes in a line that does not wrap.
func TestPullShown(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	may := make(chan struct{})
	close(may)
	image := slowRegistry(t, func() {}, may)
	p := typing(t, "none", 24, 50, "pull", "--platform", "linux/amd64", image)
	p.Until("\r\x1b[K" + fmt.Sprintf("%-.49s", "pulling "+image+":latest: 2 of 2 layers, 4.0K of 4.0K") + "\r\x1b[K")
	p.Until("wick: pulled " + image + ":latest: 2 layers, 4.0K, sha256:")
	p.Until(image + ":latest sha256:")
	p.ExpectEnd(0)
}

// TestPullInterrupted sends SIGINT to a pull. It leaves no part of a layer in the cache.
func TestPullInterrupted(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{}, 2)
	image := slowRegistry(t, func() { begun <- struct{}{} }, nil)
	dir := t.TempDir()
	cmd := exec.Command("wick", "pull", "--platform", "linux/amd64", image)
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+dir, unwindEnv+"=1h")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-begun
	cmd.Process.Signal(syscall.SIGINT)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("it ended with %v, want exit code 130", cmd.ProcessState)
	}
	left, err := os.ReadDir(filepath.Join(dir, "wick"))
	if err != nil || len(left) != 1 || !strings.HasPrefix(left[0].Name(), "image-") {
		t.Errorf("the cache has %v, %v, want the record of the image alone", left, err)
	}
}

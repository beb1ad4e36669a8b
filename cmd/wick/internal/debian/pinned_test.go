package debian

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"wick/cmd/wick/internal/cache"
)

// deb returns a package with one file, a link to it, and a directory.
func deb(t *testing.T) []byte {
	t.Helper()
	var data bytes.Buffer
	z := gzip.NewWriter(&data)
	w := tar.NewWriter(z)
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeDir, Name: "./boot/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "./boot/vmlinuz-1", Mode: 0o644, Size: 6},
		{Typeflag: tar.TypeSymlink, Name: "./vmlinuz", Linkname: "boot/vmlinuz-1", Mode: 0o777},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			w.Write([]byte("kernel"))
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	out := bytes.NewBufferString("!<arch>\n")
	for _, member := range []struct{ name, content string }{
		{"debian-binary", "2.0"}, {"control.tar.gz", "odd"}, {"data.tar.gz", data.String()},
	} {
		fmt.Fprintf(out, "%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", member.name, 0, 0, 0, "100644", len(member.content), member.content)
		if len(member.content)%2 == 1 {
			out.WriteByte('\n')
		}
	}
	return out.Bytes()
}

// TestPinned fetches a pinned package on hosts whose apt does not have it.
func TestPinned(t *testing.T) {
	content := deb(t)
	var answer func(w http.ResponseWriter)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/debian/pool/k.deb" {
			http.NotFound(w, r)
			return
		}
		answer(w)
	}))
	defer server.Close()
	const name = "linux-image-cloud-test"
	key := name + "_" + runtime.GOARCH
	defer delete(pins, key)
	whole := func(w http.ResponseWriter) { w.Write(content) }
	old := working(name, "linux-image-1-cloud-test")
	for _, tt := range []struct {
		name   string
		tools  map[string]string
		file   string
		answer func(w http.ResponseWriter)
		want   string // of the error
	}{
		{"no apt", nil, "pool/k.deb", whole, ""},
		{"an apt that does not know it", map[string]string{"apt-get": "exit 1", "apt-cache": "exit 100", "dpkg-deb": ""}, "pool/k.deb", whole, ""},
		{"an apt without a network", map[string]string{"apt-get": "exit 100", "apt-cache": old["apt-cache"], "dpkg-deb": ""}, "pool/k.deb", whole, ""},
		{"another content", nil, "pool/k.deb", func(w http.ResponseWriter) { w.Write(append(content, 0)) }, "checksum"},
		{"a page of a proxy", nil, "pool/k.deb", func(w http.ResponseWriter) { w.Write([]byte("log in first")) }, "checksum"},
		{"an end in the middle", nil, "pool/k.deb", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			w.Write(content[:20])
		}, "unexpected EOF"},
		{"a version that is gone", nil, "pool/old.deb", whole, "404"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tools(t, tt.tools)
			t.Setenv("WICK_DEBIAN_MIRROR", server.URL+"/debian/")
			answer = tt.answer
			pins[key] = pin{tt.file, int64(len(content)), fmt.Sprintf("%x", sha256.Sum256(content))}
			dir := cache.Dir(t.TempDir())
			path, err := Unpacked(t.Context(), dir, runtime.GOARCH, name)
			if tt.want != "" {
				if _, ok := errors.AsType[*UnavailableError](err); !ok || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want one with %q", err, tt.want)
				}
				if left, err := os.ReadDir(string(dir)); err != nil || len(left) != 0 {
					t.Errorf("left %v, %v", left, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(path, "vmlinuz")); string(got) != "kernel" {
				t.Errorf("the kernel is %q, %v", got, err)
			}
		})
	}
}

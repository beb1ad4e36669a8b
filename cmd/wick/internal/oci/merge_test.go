package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// e is an entry of a layer. content is its text, or the target of a link.
type e struct {
	kind    byte
	name    string
	content string
}

// pack returns a layer's tar. A regular file has the mode 0644 and the owner 70000.
func packed(t *testing.T, entries ...e) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, entry := range entries {
		h := &tar.Header{Typeflag: entry.kind, Name: entry.name, Mode: 0o644, Uid: 70000}
		switch entry.kind {
		case tar.TypeReg:
			h.Size = int64(len(entry.content))
		case tar.TypeDir:
			h.Mode = 0o700
		case tar.TypeLink, tar.TypeSymlink:
			h.Linkname = entry.content
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, entry.content); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// image returns an image of these layers, as they are on no disk.
func ofLayers(layers ...[]byte) *Image {
	i := &Image{Name: "test", Config: &v1.ConfigFile{}, id: strings.Repeat("0", 64)}
	for _, l := range layers {
		sum := sha256.Sum256(l)
		i.layers = append(i.layers, layer{
			diff: hex.EncodeToString(sum[:]),
			open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(l)), nil },
		})
	}
	return i
}

// listing returns the entries that pack adds, a line each. A directory that no layer has an entry
// for has the mode 755.
func listing(t *testing.T, i *Image) (lines []string) {
	t.Helper()
	err := i.pack(t.Context(), func(h *tar.Header, content io.Reader) error {
		text := h.Linkname
		if h.Size > 0 {
			b, err := io.ReadAll(content)
			if err != nil {
				return err
			}
			text = string(b)
		}
		switch h.Typeflag {
		case tar.TypeDir:
			lines = append(lines, fmt.Sprintf("%s/ %o", h.Name, h.Mode))
		case tar.TypeLink:
			lines = append(lines, h.Name+" = "+text)
		case tar.TypeSymlink:
			lines = append(lines, h.Name+" -> "+text)
		case tar.TypeReg:
			lines = append(lines, h.Name+": "+text)
		default:
			lines = append(lines, fmt.Sprintf("%s %c", h.Name, h.Typeflag))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

const (
	dir  = tar.TypeDir
	reg  = tar.TypeReg
	link = tar.TypeLink
	sym  = tar.TypeSymlink
)

// TestMerge merges layers as the OCI image specification and the unpackers of docker do.
func TestMerge(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long/", 60) + "name"
	for _, tt := range []struct {
		name   string
		layers [][]e
		want   []string
	}{
		{"replaced", [][]e{{{dir, "a", ""}, {reg, "a/f", "1"}, {reg, "a/g", "1"}}, {{reg, "a/f", "2"}}},
			[]string{"a/ 700", "a/g: 1", "a/f: 2"}},
		{"whiteout", [][]e{{{reg, "a/f", "1"}, {reg, "a/g", "1"}, {reg, "b/c/d", "1"}}, {{reg, "a/.wh.f", ""}, {reg, ".wh.b", ""}, {reg, "no/.wh.such", ""}}},
			[]string{"a/ 755", "a/g: 1"}},
		{"whiteout and new in one layer", [][]e{{{reg, "a/f", "1"}}, {{dir, "a", ""}, {reg, "a/n", "2"}, {reg, ".wh.a", ""}}},
			[]string{"a/ 700", "a/n: 2"}},
		{"whiteout of overlayfs", [][]e{{{reg, "f", "1"}}, {{tar.TypeChar, "f", ""}}}, nil},
		{"opaque", [][]e{{{dir, "a", ""}, {reg, "a/f", "1"}, {reg, "a/d/e", "1"}}, {{reg, "a/g", "2"}, {reg, "a/.wh..wh..opq", ""}, {reg, "a/.wh..wh.plnk", ""}}},
			[]string{"a/ 700", "a/g: 2"}},
		{"file becomes directory and back", [][]e{{{reg, "a", "1"}, {reg, "b/c", "1"}}, {{dir, "a", ""}, {reg, "a/x", "2"}, {reg, "b", "2"}}},
			[]string{"a/ 700", "a/x: 2", "b: 2"}},
		{"hard link", [][]e{{{reg, "a", "1"}, {link, "b", "a"}, {link, "./c", "/b"}}}, []string{"a: 1", "b = a", "c = a"}},
		{"hard link to a layer below, which is hidden", [][]e{{{reg, "a", "1"}}, {{link, "b", "a"}}, {{reg, ".wh.a", ""}}}, []string{"b: 1"}},
		{"one of two hard links is replaced", [][]e{{{reg, "a", "1"}, {link, "b", "a"}}, {{reg, "a", "2"}}}, []string{"b: 1", "a: 2"}},
		{"hard link to a symbolic link", [][]e{{{sym, "s", "nowhere"}, {link, "t", "s"}}}, []string{"s -> nowhere", "t = s"}},
		{"through a symbolic link", [][]e{{{dir, "usr/lib", ""}, {sym, "lib", "usr/lib"}, {reg, "usr/lib/a", "1"}}, {{reg, "lib/b", "2"}, {reg, "lib/.wh.a", ""}}},
			[]string{"usr/ 755", "usr/lib/ 700", "lib -> usr/lib", "usr/lib/b: 2"}},
		{"a link that leads outside", [][]e{{{sym, "out", "../../../tmp"}, {sym, "abs", "/tmp"}}, {{reg, "out/a", "2"}, {reg, "abs/b", "2"}, {reg, "../../c", "2"}}},
			[]string{"tmp/ 755", "abs -> /tmp", "out -> ../../../tmp", "tmp/a: 2", "tmp/b: 2", "c: 2"}},
		{"a directory replaces a link to one", [][]e{{{dir, "x", ""}, {sym, "y", "x"}}, {{dir, "y", ""}, {reg, "y/f", "2"}}},
			[]string{"x/ 700", "y/ 700", "y/f: 2"}},
		{"devices and fifos", [][]e{{{tar.TypeFifo, "p", ""}, {dir, "dev", ""}, {reg, "dev/null", "x"}, {reg, "sbin/vm-init", "x"}}},
			[]string{"dev/ 700", "sbin/ 755", "p 6"}},
		{"mount points are directories", [][]e{{{sym, "dev", "elsewhere"}, {reg, "proc", "x"}}}, nil},
		{"same name twice", [][]e{{{reg, "a", "1"}, {reg, "a", "2"}}}, []string{"a: 2"}},
		{"long name", [][]e{{{reg, long, "1"}}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var layers [][]byte
			for _, entries := range tt.layers {
				layers = append(layers, packed(t, entries...))
			}
			got := listing(t, ofLayers(layers...))
			if tt.name == "long name" {
				got, tt.want = got[len(got)-1:], []string{long + ": 1"}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("the merged image has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestMergeFails(t *testing.T) {
	t.Parallel()
	good := packed(t, e{reg, "a", "1"})
	lying := ofLayers(good)
	lying.layers[0].diff = strings.Repeat("a", 64)
	for name, tt := range map[string]struct {
		image *Image
		want  string
	}{
		"file as directory": {ofLayers(good, packed(t, e{reg, "a/b", "2"})), "layer 2: /a/b: not a directory"},
		"loop":              {ofLayers(packed(t, e{sym, "a", "b"}, e{sym, "b", "a"}, e{reg, "a/f", "1"})), "too many symbolic links"},
		"dangling link":     {ofLayers(packed(t, e{link, "b", "a"})), "/b: link to a: no such file"},
		"link to directory": {ofLayers(packed(t, e{dir, "a", ""}, e{link, "b", "a"})), "/b: link to a: a directory"},
		"cut":               {ofLayers(packed(t, e{reg, "a", "1"}, e{reg, "b", "1"})[:1100]), "layer 1: tar: unexpected EOF"},
		"not a tar":         {ofLayers(bytes.Repeat([]byte("x"), 2000)), "layer 1: tar: the input is not a tar archive"},
		"lying":             {lying, "unpacked layer sha256:aaaa"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tt.image.pack(t.Context(), func(_ *tar.Header, content io.Reader) error {
				if content != nil {
					_, err := io.Copy(io.Discard, content)
					return err
				}
				return nil
			})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("pack: %v, want %q in it", err, tt.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ofLayers(good).pack(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("pack after a cancel: %v", err)
	}
	if got := listing(t, ofLayers(nil, good)); !slices.Equal(got, []string{"a: 1"}) {
		t.Errorf("with a layer of 0 bytes: %v", got)
	}
}

// TestRecords keeps the attributes that a root can hold, and none that would instruct overlayfs.
func TestRecords(t *testing.T) {
	t.Parallel()
	got := records(map[string]string{
		"SCHILY.xattr.security.capability": "c", "SCHILY.xattr.user.a": "b", "SCHILY.xattr.trusted.overlay.opaque": "y",
		"SCHILY.xattr.user.overlay.redirect": "/", "SCHILY.xattr.system.posix_acl_access": "x", "GNU.sparse.major": "1", "path": "x",
	})
	if len(got) != 2 || got["SCHILY.xattr.security.capability"] != "c" || got["SCHILY.xattr.user.a"] != "b" {
		t.Errorf("records = %v", got)
	}
}

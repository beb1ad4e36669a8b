package main

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// TestScreen checks that text in pieces, overwritten and erased text is shown as on a terminal.
func TestScreen(t *testing.T) {
	for in, want := range map[string]string{
		"a\r\nb\r\n": "a\nb\n",
		"booting ...\r\x1b[Kready ...\r\x1b[Kup\n": "up\n",
		"abc\rx\r\n":                "xbc\n",
		"a\tb\n":                    "a       b\n",
		"/ # \x1b[6nls\x1b[1;34m\n": "/ # ls\n",
		"a\r\n\r\n\r\nb\r\n":        "a\n\nb\n",
		"é …\x07\n":                 "é …\n",
	} {
		var whole, pieces screen
		whole.write(in)
		for i := range len(in) {
			pieces.write(in[i : i+1])
		}
		for _, s := range []*screen{&whole, &pieces} {
			s.dropLast()
			if got := s.ansi(); got != want {
				t.Errorf("%q: %q, want %q", in, got, want)
			}
		}
	}
}

// TestRecord types at a real shell, and at one that it starts.
func TestRecord(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	shown, err := record(ctx, 60, []string{"stty size", "PS1='/ # ' sh", "echo in", "! echo hidden", "exit 3", "echo $?"})
	if err != nil {
		t.Fatal(err)
	}
	want := "$ \x1b[92mstty size\x1b[0m\n50 60\n$ \x1b[92mPS1='/ # ' sh\x1b[0m\n/ # \x1b[92mecho in\x1b[0m\nin\n/ # \x1b[92mexit 3\x1b[0m\n$ \x1b[92mecho $?\x1b[0m\n3\n"
	if got := shown.ansi(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestRecordEnds checks that a shell that ends before its prompt is an error that has the shown
// text.
func TestRecordEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, lines := range [][]string{{"exit", "echo never"}, {"! exit 3", "echo never"}} {
		if _, err := record(ctx, 60, lines); err == nil {
			t.Errorf("record(%q): no error", lines)
		}
	}
}

// TestServe pulls an image from the registry that serve starts.
func TestServe(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(ln.Addr().String() + "/app:v1")
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := errors.Join(err, tarball.WriteToFile(path, tag, empty.Image)); err != nil {
		t.Fatal(err)
	}
	listen := func(_, address string) (net.Listener, error) {
		if address != ln.Addr().String() {
			t.Errorf("the registry listens at %s, want %s", address, ln.Addr())
		}
		return ln, nil
	}
	if err := serve(path, listen); err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(tag)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := empty.Image.ConfigName()
	if got, err := img.ConfigName(); err != nil || got != want {
		t.Errorf("the image is %v, %v, want %v", got, err, want)
	}
	if err := serve(filepath.Join(t.TempDir(), "none"), listen); err == nil {
		t.Error("a file that is missing is served")
	}
}

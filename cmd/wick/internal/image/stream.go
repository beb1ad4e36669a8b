package image

import (
	"archive/tar"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"strings"
	"time"
)

// stream is the tar that mksquashfs reads. Entries that the guest needs replace those of the
// source.
type stream struct {
	w     io.Writer // the output of tar
	tar   *tar.Writer
	seen  map[string]bool
	links map[string]string // targets of symbolic links by name
	// merged says that the entries are those of a merged container image. None of them marks a
	// deleted file, or shows that the source is no root.
	merged bool
}

// ours has the names that only finish writes. The export of a container has an empty file for
// /dev/console.
var ours = map[string]bool{"sbin/vm-init": true, "usr/sbin/vm-init": true, "dev/null": true, "dev/console": true}

// mountPoints has the directories that vm-init mounts on. It works without them too.
var mountPoints = []string{"dev", "proc", "sys", "run", "tmp"}

func newStream(w io.Writer) *stream {
	return &stream{w: w, tar: tar.NewWriter(w), seen: map[string]bool{}, links: map[string]string{}}
}

// clean returns a name in the stream's form: no leading slash or dot, no trailing slash. The root
// is ".".
func clean(name string) string {
	if c := strings.TrimPrefix(path.Clean("/"+name), "/"); c != "" {
		return c
	}
	return "."
}

// add writes one entry. content is nil unless it is a regular file.
func (s *stream) add(h *tar.Header, content io.Reader) error {
	name := clean(h.Name)
	if !s.merged {
		reason := foreign(name, h)
		listed, whole, err := isManifest(name, content)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if content = whole; listed {
			reason = savedImage
		}
		if reason != "" {
			return &SourceError{Reason: reason}
		}
	}
	if name == "." || ours[name] || s.seen[name] && h.Typeflag == tar.TypeDir {
		return nil // mksquashfs makes the top directory itself, and warns of another
	}
	s.seen[name] = true
	h.Name = name
	switch h.Typeflag {
	case tar.TypeDir:
		h.Name += "/"
	case tar.TypeSymlink:
		s.links[name] = h.Linkname
	case tar.TypeLink:
		h.Linkname = clean(h.Linkname)
	}
	// A squashfs has no user names, and its times are whole seconds from 1970 to 2106.
	h.Uname, h.Gname, h.Format = "", "", tar.FormatUnknown
	h.AccessTime, h.ChangeTime = time.Time{}, time.Time{}
	h.ModTime = time.Unix(min(max(h.ModTime.Unix(), 0), math.MaxUint32), 0)
	// The reader filled the holes of a sparse file.
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			delete(h.PAXRecords, key)
		}
	}
	if h.Typeflag == tar.TypeSymlink && !plainTarget(h.Linkname) {
		if err := s.longTarget(h.Linkname); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		h.Linkname = "long"
	}
	if err := s.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if h.Typeflag == tar.TypeReg {
		if _, err := io.Copy(s.tar, content); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

// plainTarget reports whether the target of a symbolic link fits a header unchanged.
func plainTarget(target string) bool {
	for i := range len(target) {
		if target[i] >= 0x80 {
			return false
		}
	}
	return len(target) <= 100
}

// longTarget writes the target of the next link in an entry of its own, like GNU tar. A pax record
// does not work, because mksquashfs 4.5 strips "/", "./" and "../" from its beginning.
func (s *stream) longTarget(target string) error {
	if err := s.tar.Flush(); err != nil {
		return err
	}
	text := target + "\x00"
	block := make([]byte, 512+(len(text)+511)/512*512)
	copy(block, "././@LongLink")
	copy(block[100:], "0000000\x000000000\x000000000\x00")
	copy(block[124:], fmt.Sprintf("%011o\x00%011o\x00        K", len(text), 0)) // size, time, checksum as blanks
	copy(block[257:], "ustar  \x00")
	sum := 0
	for _, b := range block[:512] {
		sum += int(b)
	}
	copy(block[148:], fmt.Sprintf("%06o\x00 ", sum))
	copy(block[512:], text)
	_, err := s.w.Write(block)
	return err
}

// dir adds a directory, unless there is an entry of that name.
func (s *stream) dir(name string, mode int64) error {
	if s.seen[name] {
		return nil
	}
	return s.add(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}, nil)
}

// finish adds vm-init, the device nodes that a program needs before the mounts, and the mount
// points.
func (s *stream) finish(init string) error {
	for _, name := range mountPoints {
		mode := int64(0o755)
		if name == "tmp" {
			mode = 0o1777
		}
		if err := s.dir(name, mode); err != nil {
			return err
		}
	}
	nodes := []tar.Header{
		{Name: "dev/null", Mode: 0o666, Devmajor: 1, Devminor: 3},
		{Name: "dev/console", Mode: 0o600, Devmajor: 5, Devminor: 1},
	}
	for _, h := range nodes {
		h.Typeflag = tar.TypeChar
		if err := s.tar.WriteHeader(&h); err != nil {
			return fmt.Errorf("write %s: %w", h.Name, err)
		}
	}
	sbin, err := s.resolve("sbin")
	if err != nil {
		return err
	}
	for _, up := range parents(sbin) {
		if err := s.dir(up, 0o755); err != nil {
			return err
		}
	}
	f, err := os.Open(init)
	if err != nil {
		return fmt.Errorf("read vm-init: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read vm-init: %w", err)
	}
	h := tar.Header{Typeflag: tar.TypeReg, Name: sbin + "/vm-init", Mode: 0o755, Size: info.Size()}
	if err := s.tar.WriteHeader(&h); err != nil {
		return fmt.Errorf("write %s: %w", h.Name, err)
	}
	if _, err := io.Copy(s.tar, f); err != nil {
		return fmt.Errorf("write %s: %w", h.Name, err)
	}
	return s.tar.Close()
}

// resolve follows the symbolic links in a name, like the guest's kernel. In most systems /sbin is a
// link to usr/sbin.
func (s *stream) resolve(name string) (string, error) {
	done := "."
	rest := strings.Split(name, "/")
	for hops := 0; len(rest) > 0; {
		next := path.Join(done, rest[0])
		rest = rest[1:]
		target, ok := s.links[next]
		if !ok {
			done = next
			continue
		}
		if hops++; hops > 40 {
			return "", fmt.Errorf("find /%s: too many symbolic links", name)
		}
		if !strings.HasPrefix(target, "/") {
			target = path.Join(done, target)
		}
		// The parent of the root is the root; clean handles that.
		rest = append(strings.Split(clean(target), "/"), rest...)
		done = "."
	}
	return clean(done), nil
}

// parents returns the directories above a name, and the name itself, the outermost first.
func parents(name string) (dirs []string) {
	for i := range len(name) {
		if name[i] == '/' {
			dirs = append(dirs, name[:i])
		}
	}
	return append(dirs, name)
}

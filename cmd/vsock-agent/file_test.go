package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"golang.org/x/sys/unix"
)

func (r *run) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(r.dir, p)
}

// file runs a step of one of these forms:
//
//	file PATH = value | missing | mode 0644 | owner 1:2 | links 1 | len N | is TYPE
//	file PATH xattr NAME = value
func (r *run) file(rest string) error {
	tokens, err := scan(rest)
	if err != nil {
		return err
	}
	s := &scanner{tokens}
	path := r.path(s.next().text)
	var st unix.Stat_t
	err = unix.Lstat(path, &st)
	if s.is('w', "missing") {
		if err == nil {
			return fmt.Errorf("%s exists", path)
		}
		if err != unix.ENOENT {
			return err
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	differs := func(what string, got, want any) error {
		if got == want {
			return nil
		}
		return fmt.Errorf("%s: %s is %v, not %v", path, what, got, want)
	}
	if s.is('o', "") {
		f := field{name: path, op: s.next().text}
		if f.value, err = s.value(); err != nil {
			return err
		}
		got, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := compare(f, got); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	}
	switch what, value := s.next().text, s.next().text; what {
	case "mode":
		return differs(what, fmt.Sprintf("%04o", st.Mode&0o7777), value)
	case "owner":
		return differs(what, fmt.Sprintf("%d:%d", st.Uid, st.Gid), value)
	case "links":
		return differs(what, fmt.Sprint(st.Nlink), value)
	case "len":
		return differs(what, fmt.Sprint(st.Size), value)
	case "is":
		types := map[uint32]string{unix.S_IFREG: "file", unix.S_IFDIR: "directory", unix.S_IFLNK: "symlink",
			unix.S_IFSOCK: "socket", unix.S_IFIFO: "fifo", unix.S_IFCHR: "device"}
		return differs("the type", types[st.Mode&unix.S_IFMT], value)
	case "xattr":
		b := make([]byte, 256)
		n, err := unix.Getxattr(path, value, b)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", path, value, err)
		}
		f := field{name: value, op: s.next().text}
		if f.value, err = s.value(); err != nil {
			return err
		}
		return compare(f, b[:n])
	default:
		return fmt.Errorf("file has no %q", what)
	}
}

// directory runs a step dir PATH = NAME …. The directory must have exactly these entries.
func (r *run) directory(rest string) error {
	tokens, err := scan(rest)
	if err != nil || len(tokens) < 2 {
		return fmt.Errorf("dir PATH = NAME …: %v", err)
	}
	entries, err := os.ReadDir(r.path(tokens[0].text))
	if err != nil {
		return err
	}
	var want, got []string
	for _, t := range tokens[2:] {
		want = append(want, t.text)
	}
	for _, e := range entries {
		got = append(got, e.Name())
	}
	sort.Strings(want)
	if fmt.Sprint(want) != fmt.Sprint(got) {
		return fmt.Errorf("%s has %q, not %q", tokens[0].text, got, want)
	}
	return nil
}

// fifo runs a step of this form. hold keeps the FIFO open for both reading and writing:
//
//	fifo hold PATH | read PATH = value | release PATH
func (r *run) fifo(rest string) error {
	tokens, err := scan(rest)
	if err != nil || len(tokens) < 2 {
		return fmt.Errorf("fifo hold|read|release PATH: %v", err)
	}
	path := r.path(tokens[1].text)
	switch tokens[0].text {
	case "hold":
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		r.fifos[path] = fd
		return nil
	case "release":
		fd := r.fifos[path]
		delete(r.fifos, path)
		return unix.Close(fd)
	case "read":
		s := &scanner{tokens[2:]}
		f := field{op: s.next().text}
		if f.value, err = s.value(); err != nil {
			return err
		}
		got := []byte{}
		b := make([]byte, 64<<10)
		err := r.poll(func() error {
			n, err := unix.Read(r.fifos[path], b)
			if n > 0 {
				got = append(got, b[:n]...)
				err = nil
			}
			if err == nil && len(got) < len(f.value) {
				err = fmt.Errorf("only %d of %d bytes came", len(got), len(f.value))
			}
			return err
		})
		if err != nil {
			return err
		}
		return compare(f, got)
	}
	return fmt.Errorf("fifo has no %q", tokens[0].text)
}

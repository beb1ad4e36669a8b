package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Key is the hash of what an entry is made from. Each part is hashed with its length.
type Key struct{ h hash.Hash }

// NewKey begins a key. kind and version name the recipe. A new version makes a new entry from the
// same parts.
func NewKey(kind string, version int) *Key {
	k := &Key{sha256.New()}
	k.Add(kind, fmt.Sprint(version))
	return k
}

// Add adds strings.
func (k *Key) Add(parts ...string) {
	for _, p := range parts {
		k.h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		io.WriteString(k.h, p)
	}
}

// Content adds a file's content. It suits a small file whose place and times mean nothing.
func (k *Key) Content(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	k.Add(fmt.Sprint(info.Size()))
	_, err = io.Copy(k.h, f)
	return err
}

// Identity adds what changes whenever a file does, without reading it. This is its path, size,
// inode, and modification and change times. No program can set the change time, so a file that was
// altered and given its old date is noticed too. A copy elsewhere is another file.
func (k *Key) Identity(path string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	k.Add(abs)
	k.stat(info)
	return nil
}

// File adds a file's name and identity. info is the result of Lstat. A change of a symbolic link's
// target changes its times.
func (k *Key) File(path string, info fs.FileInfo) {
	k.Add(path)
	k.stat(info)
}

func (k *Key) stat(info fs.FileInfo) {
	s := info.Sys().(*syscall.Stat_t)
	k.Add(fmt.Sprint(s.Dev, s.Ino, s.Mode, s.Uid, s.Gid, s.Rdev, s.Size, s.Mtim, s.Ctim))
}

// Name returns the entry's name: kind, a hyphen, the hash, and a suffix such as ".squashfs".
func (k *Key) Name(kind, suffix string) string {
	return kind + "-" + hex.EncodeToString(k.h.Sum(nil)[:16]) + suffix
}

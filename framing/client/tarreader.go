package client

import (
	"archive/tar"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
)

// A TarReader reads the entries of a tar that a file system can hold, in any format of tar: old,
// ustar, GNU and pax.
//
//	type                                       what Next makes of it
//	regular, contiguous (7), sparse (S)        a regular file
//	directory, GNU's listed directory (D)      a directory
//	link, symbolic link, device, FIFO          itself
//	pax and GNU extended headers (x, L, K)     applied to the next entry
//	global header (g)                          passed over; with a note unless it is only a comment
//	label (V), old long name (N)               passed over, with a note
//	Solaris's and star's metadata (A, E, I, X) passed over, with a note
//	a part of a file of another volume (M)     a TarError
//	any other                                  a regular file, as POSIX has it, with a note
type TarReader struct {
	in     *tar.Reader
	count  byteCount
	note   func(name, reason string)
	begun  bool
	sparse bool
}

// byteCount counts what is read.
type byteCount struct {
	r io.Reader
	n int64
}

func (c *byteCount) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// NewTarReader returns a reader of the tar that r gives. note, if not nil, is told what is passed
// over.
func NewTarReader(r io.Reader, note func(name, reason string)) *TarReader {
	t := &TarReader{note: note}
	if t.note == nil {
		t.note = func(string, string) {}
	}
	t.count.r = r
	t.in = tar.NewReader(&t.count)
	return t
}

// Next returns the next entry, whose Typeflag is one of tar.TypeReg, TypeDir, TypeLink,
// TypeSymlink, TypeChar, TypeBlock and TypeFifo. At the end the error is io.EOF. Input that is
// empty or not an archive is a *TarError without a name.
func (t *TarReader) Next() (*tar.Header, error) {
	for {
		h, err := t.in.Next()
		switch {
		case err == io.EOF && t.count.n == 0:
			return nil, &TarError{Reason: "the input is empty"}
		case err == io.EOF:
			return nil, err
		case !t.begun && (errors.Is(err, tar.ErrHeader) || err == io.ErrUnexpectedEOF):
			return nil, &TarError{Reason: "the input is not a tar archive", Err: err}
		case err != nil:
			return nil, fmt.Errorf("tar: %w", err)
		}
		t.begun, t.sparse = true, h.Typeflag == tar.TypeGNUSparse
		switch h.Typeflag {
		case tar.TypeReg, tar.TypeDir, tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		case tar.TypeCont, tar.TypeGNUSparse:
			h.Typeflag = tar.TypeReg
		case 'D':
			h.Typeflag = tar.TypeDir
		case tar.TypeXGlobalHeader:
			for key := range h.PAXRecords {
				if key != "comment" {
					t.note(h.Name, "left out: it is a global header, which does not count here")
					break
				}
			}
			continue
		case 'V':
			t.note(h.Name, "left out: it is the label of the archive")
			continue
		case 'A', 'E', 'I', 'N', 'X':
			t.note(h.Name, fmt.Sprintf("left out: it is metadata of type %q", h.Typeflag))
			continue
		case 'M':
			return nil, &TarError{Name: h.Name, Reason: "it begins in another volume of the archive"}
		default:
			t.note(h.Name, fmt.Sprintf("it is of type %q, and taken for a regular file", h.Typeflag))
			h.Typeflag = tar.TypeReg
		}
		for key := range h.PAXRecords {
			t.sparse = t.sparse || strings.HasPrefix(key, "GNU.sparse.")
		}
		return h, nil
	}
}

// Read reads the content of a regular file. Holes read as zeros.
func (t *TarReader) Read(p []byte) (int, error) { return t.in.Read(p) }

// Sparse reports whether the regular file may have holes. Each hole is a run of zeros, but a run of
// zeros need not be a hole.
func (t *TarReader) Sparse() bool { return t.sparse }

// xattrRecord begins the pax records of extended attributes, in GNU tar and star.
const xattrRecord = "SCHILY.xattr."

// TarAttributes returns the extended attributes of an entry by name. lost are the records of
// attributes in a form that is not supported: ACLs and security labels as text.
func TarAttributes(h *tar.Header) (attributes map[string]string, lost []string) {
	set := func(name, value string) {
		if attributes == nil {
			attributes = map[string]string{}
		}
		attributes[name] = value
	}
	for key, value := range h.PAXRecords {
		switch {
		case strings.HasPrefix(key, xattrRecord):
			set(key[len(xattrRecord):], value)
		case strings.HasPrefix(key, "LIBARCHIVE.xattr."):
			name, err := url.PathUnescape(strings.TrimPrefix(key, "LIBARCHIVE.xattr."))
			b, err2 := base64.RawStdEncoding.DecodeString(strings.TrimRight(value, "="))
			if _, both := h.PAXRecords[xattrRecord+name]; err == nil && err2 == nil && !both {
				set(name, string(b))
			}
		case strings.HasPrefix(key, "SCHILY.acl."), key == "RHT.security.selinux":
			lost = append(lost, key)
		}
	}
	return attributes, lost
}

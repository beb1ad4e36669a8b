package client

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"syscall"

	"wick/framing"
)

// Extent is a part of a file that holds data. The rest of the file is holes, which read as zeros.
type Extent = framing.Extent

// maxExtents is how many extents of a file are held. A file with more is treated as one without
// holes.
const maxExtents = 1 << 16

// Extents returns which parts of a file of the guest hold data, in order. size is the file's size
// as the caller knows it: later additions are left out.
//
// The error is as for [Client.Stat]. It is an [*UnsupportedError] if the guest cannot tell.
func (c *Client) Extents(ctx context.Context, name string, size int64, flags ...FileFlags) ([]Extent, error) {
	if err := c.need(ctx, framing.FeatureCopies); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if size == 0 {
		return nil, nil
	}
	d, err := c.download(ctx, "read", name, readWindow, 0, func(dst []byte, seq, credit uint32) []byte {
		return framing.AppendRead(dst, seq, &framing.Read{
			Flags: fileFlags(flags) | framing.FileMap, Length: uint64(size), Credit: credit, Path: []byte(name),
		})
	})
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var list []Extent
	var b [framing.ExtentSize]byte
	end := uint64(0)
	for {
		switch _, err := io.ReadFull(d, b[:]); {
		case err == io.EOF:
			return list, nil
		case err != nil:
			return nil, err
		}
		e, _, _ := framing.CutExtent(b[:])
		if e.Offset < end || e.Length == 0 || e.Length > uint64(size) || e.Offset > uint64(size)-e.Length {
			return nil, c.broken(errors.New("read: extents are not valid"))
		}
		if end = e.Offset + e.Length; len(list) == maxExtents {
			return []Extent{{Offset: 0, Length: uint64(size)}}, nil
		}
		list = append(list, e)
	}
}

// full reports whether a file of that size has no holes.
func full(list []Extent, size int64) bool {
	return size == 0 || len(list) == 1 && list[0].Offset == 0 && list[0].Length == uint64(size)
}

// Skip writes a hole of n bytes. A guest that does not support holes gets zeros.
func (w *FileWriter) Skip(n int64) error {
	if w.c.need(w.ctx, framing.FeatureCopies) != nil {
		_, err := io.CopyN(struct{ io.Writer }{w}, zeroes{}, n)
		return err
	}
	w.mu.Lock()
	err, over := w.err, w.over
	if err == nil && !over {
		w.sent += n
	}
	w.mu.Unlock()
	if err == nil && !over {
		w.c.enqueue(w.ctx, framing.HeaderSize+8, func(dst []byte) []byte { return framing.AppendSkip(dst, w.seq, uint64(n)) })
	}
	return err
}

// sparseBlock is the shortest run of zeros that becomes a hole, in bytes: the block size of most
// file systems.
const sparseBlock = 4 << 10

// CopySparse reads r to its end. It calls skip for blocks of zeros, which become holes, and write
// for all other content.
func CopySparse(r io.Reader, write func([]byte) error, skip func(n int64) error) error {
	buf := make([]byte, 64<<10)
	hole := int64(0)
	for {
		n, err := io.ReadFull(r, buf)
		for piece := buf[:n]; len(piece) > 0; {
			zero := isZero(piece[:min(len(piece), sparseBlock)])
			k := 0
			for k < len(piece) && isZero(piece[k:min(len(piece), k+sparseBlock)]) == zero {
				k = min(len(piece), k+sparseBlock)
			}
			if zero {
				hole += int64(k)
			} else {
				if hole > 0 {
					if err := skip(hole); err != nil {
						return err
					}
					hole = 0
				}
				if err := write(piece[:k]); err != nil {
					return err
				}
			}
			piece = piece[k:]
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			if hole > 0 {
				return skip(hole)
			}
			return nil
		default:
			return err
		}
	}
}

var zeroBlock [sparseBlock]byte

func isZero(b []byte) bool { return bytes.Equal(b, zeroBlock[:len(b)]) }

// WriteSparse writes an entry with holes to a tar, in GNU's pax format 1.0. out writes the tar to
// w. content writes the data of the extents, one after the other, to its argument; missing data
// becomes zeros.
func WriteSparse(out *tar.Writer, w io.Writer, h *tar.Header, extents []Extent, content func(io.Writer) error) error {
	if err := out.Flush(); err != nil {
		return err
	}
	size, list := h.Size, extents
	if n := len(list); n == 0 || list[n-1].Offset+list[n-1].Length < uint64(size) {
		list = append(list[:n:n], Extent{Offset: uint64(size)}) // the end of the last hole
	}
	m := strconv.AppendInt(nil, int64(len(list)), 10)
	data := int64(0)
	for _, e := range list {
		m = append(strconv.AppendUint(append(m, '\n'), e.Offset, 10), '\n')
		m = strconv.AppendUint(m, e.Length, 10)
		data += int64(e.Length)
	}
	m = append(m, '\n')
	m = append(m, make([]byte, -len(m)&511)...)

	// Package tar refuses the records of sparse files, so it gets others of the same length, which
	// are then renamed.
	head := *h
	head.Name, head.Size, head.Format = path.Join(path.Dir(h.Name), "GNUSparseFile.0", path.Base(h.Name)), int64(len(m))+data, tar.FormatPAX
	head.PAXRecords = map[string]string{}
	for key, value := range h.PAXRecords {
		head.PAXRecords[key] = value
	}
	records := map[string]string{"major": "1", "minor": "0", "name": h.Name, "realsize": strconv.FormatInt(size, 10)}
	for key, value := range records {
		head.PAXRecords["WIK.sparse."+key] = value
	}
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&head); err != nil {
		return err
	}
	text := b.String()
	for key, value := range records {
		text = strings.Replace(text, " WIK.sparse."+key+"="+value+"\n", " GNU.sparse."+key+"="+value+"\n", 1)
	}
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	if _, err := w.Write(m); err != nil {
		return err
	}
	left := &limitedWriter{w, data}
	err := content(left)
	if err != nil {
		return err
	}
	_, err = io.CopyN(w, zeroes{}, left.n+(-data&511))
	return err
}

// limitedWriter writes at most n bytes.
type limitedWriter struct {
	w io.Writer
	n int64
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	k := min(int64(len(p)), l.n)
	n, err := l.w.Write(p[:k])
	if l.n -= int64(n); err == nil && n < len(p) {
		err = syscall.EFBIG
	}
	return n, err
}

package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// copyStep is how much of a file is copied between two looks at the context, in bytes.
const copyStep = 8 << 20

// CopyFile copies a file to a new one. The copy shares the blocks of the original where the file
// system can, and otherwise has the same holes.
func CopyFile(ctx context.Context, to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) != nil {
		err = copySparse(ctx, out, in)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	return nil
}

// copySparse copies the data of a file, and not its holes.
func copySparse(ctx context.Context, out, in *os.File) error {
	size, err := in.Seek(0, io.SeekEnd) // also of a block device
	if err != nil {
		return err
	}
	for at := int64(0); at < size; {
		end := min(at+copyStep, size)
		if data, err := unix.Seek(int(in.Fd()), at, unix.SEEK_DATA); err == nil {
			hole, err := unix.Seek(int(in.Fd()), data, unix.SEEK_HOLE)
			if err != nil {
				return err
			}
			at, end = data, min(hole, data+copyStep)
		} else if errors.Is(err, unix.ENXIO) {
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := in.Seek(at, io.SeekStart); err != nil {
			return err
		}
		if _, err := out.Seek(at, io.SeekStart); err != nil {
			return err
		}
		n, err := io.CopyN(out, in, end-at)
		if errors.Is(err, io.EOF) {
			break // it was truncated
		}
		if err != nil {
			return err
		}
		at += n
	}
	return out.Truncate(size)
}

package image

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// DefaultOverlay is the size of the overlay image in MiB. The file is sparse, so it uses only what
// the guest writes.
const DefaultOverlay = 512

// overlayUUID is the UUID of every overlay. With it and a fixed hash seed, images of one size are
// equal. No machine mounts two of them.
const overlayUUID = "77696b6b-6f76-4572-a461-790000000000"

// Overlay makes an empty ext4 of mib MiB at path, which must not exist.
func Overlay(ctx context.Context, path string, mib int) error {
	// A fixed clock makes the times in the superblock equal.
	err := ext4(ctx, path, int64(mib)<<20, []string{"E2FSPROGS_FAKE_TIME=1"},
		",hash_seed="+overlayUUID, "-U", overlayUUID, "-L", "wick-overlay")
	if err != nil {
		return fmt.Errorf("make the overlay image: %w", err)
	}
	return nil
}

// Disk makes an empty ext4 of mib MiB with a label at path, which must not exist. A label has at
// most 16 bytes, and the rest is left out.
func Disk(ctx context.Context, path, label string, mib int) error {
	if err := ext4(ctx, path, int64(mib)<<20, nil, "", "-L", label[:min(len(label), 16)]); err != nil {
		return fmt.Errorf("make the disk image: %w", err)
	}
	return nil
}

// CopyDir makes an ext4 at path, which must not exist, with a copy of a directory. It has some
// space left.
func CopyDir(ctx context.Context, path, dir string) error {
	const block, inode = 4096, 256
	size := int64(64 << 20)
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += block + inode
		}
		if err == nil && info.Mode().IsRegular() {
			size += info.Size() + info.Size()/64
		}
		return err
	})
	if err == nil {
		err = ext4(ctx, path, size+size/16, nil, "", "-i", "4096", "-d", dir)
	}
	if err != nil {
		return fmt.Errorf("copy %s: %w", dir, err)
	}
	return nil
}

// ext4 makes an ext4 of size bytes at path, which must not exist.
//
// assume_storage_prezeroed says that the new file is all zeros, so that the guest need not zero it
// in the background. An older mkfs does not know it and writes the zeros itself. No blocks are
// reserved for root (-m), because most programs in a guest run as root.
func ext4(ctx context.Context, path string, size int64, env []string, extended string, args ...string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = f.Truncate(size)
	if closed := f.Close(); err == nil {
		err = closed
	}
	for _, zeroed := range []string{"assume_storage_prezeroed=1", "lazy_itable_init=0,lazy_journal_init=0"} {
		if err != nil {
			break
		}
		cmd, toolErr := tool(ctx, "mkfs.ext4", slices.Concat([]string{"-q", "-F", "-m", "0"}, args,
			[]string{"-E", "nodiscard,root_owner=0:0" + extended + "," + zeroed, path})...)
		if toolErr != nil {
			err = toolErr
			break
		}
		cmd.Env = append(cmd.Env, env...)
		if _, failed := run(cmd); failed == nil {
			return nil
		} else if zeroed[0] == 'l' {
			err = failed
		}
	}
	os.Remove(path)
	return err
}

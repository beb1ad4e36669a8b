package image

import (
	"context"
	"fmt"
	"os"
)

// DefaultOverlay is the size of the overlay image in MiB. The file is sparse, so it uses only what
// the guest writes.
const DefaultOverlay = 512

// overlayUUID is the UUID of every overlay. With it and a fixed hash seed, images of one size are
// equal. No machine mounts two of them.
const overlayUUID = "77696b6b-6f76-4572-a461-790000000000"

// Overlay makes an empty ext4 of mib MiB at path, which must not exist.
//
// assume_storage_prezeroed says that the new file is all zeros, so that the guest need not zero it
// in the background. An older mkfs does not know it and writes the zeros itself. No blocks are
// reserved for root (-m), because most programs in a guest run as root.
func Overlay(ctx context.Context, path string, mib int) error {
	fail := func(err error) error {
		os.Remove(path)
		return fmt.Errorf("make the overlay image: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make the overlay image: %w", err)
	}
	err = f.Truncate(int64(mib) << 20)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fail(err)
	}
	for _, zeroed := range []string{"assume_storage_prezeroed=1", "lazy_itable_init=0,lazy_journal_init=0"} {
		cmd, toolErr := tool(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", "-U", overlayUUID, "-L", "wick-overlay",
			"-E", "nodiscard,root_owner=0:0,hash_seed="+overlayUUID+","+zeroed, path)
		if toolErr != nil {
			return fail(toolErr)
		}
		// A fixed clock makes the times in the superblock equal.
		cmd.Env = append(cmd.Env, "E2FSPROGS_FAKE_TIME=1")
		if _, err = run(cmd); err == nil {
			return nil
		}
	}
	return fail(err)
}

package image

import (
	"context"
	"fmt"
	"os"
)

// DefaultOverlay is the overlay image's size, in MiB. The file is sparse: it takes what the guest writes.
const DefaultOverlay = 512

// overlayUUID is every overlay's: with it and a fixed hash seed, images of one size are alike. No two are ever mounted together.
const overlayUUID = "77696b6b-6f76-4572-a461-790000000000"

// Overlay makes an empty ext4 of so many MiB at path, which must not exist.
//
// The file is all zeros before, and saying so (assume_storage_prezeroed) leaves nothing to be zeroed in the guest's background; an
// older mkfs does not know that and writes the zeros now. A share for root (-m) makes no sense where all are root.
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
		// Without a fixed clock the superblock would hold the time of its making.
		cmd.Env = append(cmd.Env, "E2FSPROGS_FAKE_TIME=1")
		if _, err = run(cmd); err == nil {
			return nil
		}
	}
	return fail(err)
}

package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lockPause is how often a waiting process retries, because a context cannot end a wait in flock.
const lockPause = 50 * time.Millisecond

// held is a lock that this process holds.
type held struct{ file *os.File }

// lock takes the lock at path when no other process holds it.
//
// The holder removes the file when it releases the lock. So a waiting process may get the lock of a
// removed file. It then holds nothing, and starts over.
func lock(ctx context.Context, path string) (*held, error) {
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open a lock: %w", err)
		}
		if err := flock(ctx, f); err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		ours, err := f.Stat()
		if err == nil {
			if there, err := os.Stat(path); err == nil && os.SameFile(ours, there) {
				return &held{f}, nil
			}
		}
		f.Close()
	}
}

func flock(ctx context.Context, f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockPause):
		}
	}
}

func (h *held) release() {
	os.Remove(h.file.Name())
	h.file.Close()
}

package vmm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// migrationPause is the time between two looks at a migration.
const migrationPause = 10 * time.Millisecond

// unlimited is a migration's speed in bytes a second. QEMU's default is that of an old network.
const unlimited = 1 << 40

// Save writes the state of a stopped machine to f: its memory and its devices, without the content
// of its disks. The machine is stopped afterwards, and "cont" lets it go on. A [*QMPError] says
// which device cannot be saved.
func (q *QMP) Save(ctx context.Context, f *os.File) error {
	err := q.Do(ctx, "migrate-set-parameters", map[string]any{"max-bandwidth": int64(unlimited)}, nil)
	if err == nil {
		err = q.give(ctx, "save", f)
	}
	if err == nil {
		err = q.Do(ctx, "migrate", map[string]any{"uri": "fd:save"}, nil)
	}
	if err != nil {
		return err
	}
	err = q.migrated(ctx)
	if err != nil && ctx.Err() != nil {
		// The file is the caller's again only when QEMU has left it.
		ended := context.WithoutCancel(ctx)
		if q.Do(ended, "migrate_cancel", nil, nil) == nil {
			q.migrated(ended)
		}
	}
	return err
}

// Load has a machine that was started with [QEMURun.Incoming] take the state in f, and run. QEMU
// exits if it cannot.
func (q *QMP) Load(ctx context.Context, f *os.File) error {
	err := q.give(ctx, "load", f)
	if err == nil {
		err = q.Do(ctx, "migrate-incoming", map[string]any{"uri": "fd:load"}, nil)
	}
	if err != nil {
		return err
	}
	if err := q.migrated(ctx); err != nil {
		return err
	}
	return q.Do(ctx, "cont", nil, nil)
}

// migrated waits for the end of a migration.
func (q *QMP) migrated(ctx context.Context) error {
	for {
		var info struct {
			Status string   `json:"status"`
			Desc   string   `json:"error-desc"`
			Why    []string `json:"blocked-reasons"`
		}
		if err := q.Do(ctx, "query-migrate", nil, &info); err != nil {
			return err
		}
		switch info.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			why := append(info.Why, info.Desc)
			return fmt.Errorf("qmp migrate: %s: %s", info.Status, strings.Join(why, "; "))
		}
		select {
		case <-time.After(migrationPause):
		case <-q.done:
			return errors.New("qmp migrate: QEMU closed the connection")
		case <-ctx.Done():
			return fmt.Errorf("qmp migrate: %w", ctx.Err())
		}
	}
}

// Version returns QEMU's version, such as 7.2.22.
func (q *QMP) Version(ctx context.Context) (string, error) {
	var v struct {
		QEMU struct {
			Major int `json:"major"`
			Minor int `json:"minor"`
			Micro int `json:"micro"`
		} `json:"qemu"`
	}
	err := q.Do(ctx, "query-version", nil, &v)
	return fmt.Sprintf("%d.%d.%d", v.QEMU.Major, v.QEMU.Minor, v.QEMU.Micro), err
}

package client

import (
	"context"
	"fmt"
	"time"

	"wick/framing"
)

// maxVolume is the longest text of a volume, target or path, in bytes.
const maxVolume = 8192

// Mount mounts a volume in the guest: SOURCE:TARGET:TYPE[:OPTIONS], as vm-init's --mount has it.
// Its device may take wait to appear, at most an hour. So a host may call Mount before it attaches
// the drive.
//
// If mounted is true, an error is about what follows: the ext4 did not grow, or is full. An
// [*OpError] with ENOENT is a device that did not appear, and EBUSY a target that is taken. EINVAL
// is a text that makes no sense, or a device without that file system.
func (c *Client) Mount(ctx context.Context, volume string, wait time.Duration) (mounted bool, err error) {
	ms, ok := milliseconds(wait)
	if !ok || wait > time.Hour || len(volume) > maxVolume {
		return false, &RequestError{Op: "mount", Reason: "wait is longer than an hour, or the volume's text than 8192 bytes"}
	}
	m := framing.VolumeMount{WaitMS: ms, Volume: []byte(volume)}
	value, err := c.operate(ctx, framing.FeatureDisks, "mount", 32+len(volume), func(dst []byte, seq uint32) []byte {
		return framing.AppendMount(dst, seq, &m)
	})
	return value == 1, err
}

// Unmount unmounts the last mount at target in the guest. An [*OpError] with EBUSY names what uses
// it. With lazy a busy volume is detached: no path leads to it any more, and it is unmounted when
// its last user is gone.
func (c *Client) Unmount(ctx context.Context, target string, lazy bool) error {
	if len(target) > maxVolume {
		return &RequestError{Op: "unmount", Reason: "target is longer than 8192 bytes"}
	}
	var flags framing.UnmountFlags
	if lazy {
		flags = framing.UnmountLazy
	}
	_, err := c.operate(ctx, framing.FeatureDisks, "unmount", 32+len(target), func(dst []byte, seq uint32) []byte {
		return framing.AppendUnmount(dst, seq, flags, []byte(target))
	})
	return err
}

// Trim gives the blocks that the file system of path does not use back to the host, and returns how
// many bytes they are. An empty path means every disk that is mounted. Canceling the context does
// not stop it, but closing the client does.
func (c *Client) Trim(ctx context.Context, path string) (bytes uint64, err error) {
	return c.disk(ctx, "trim", framing.DiskTrim, path)
}

// Grow resizes the ext4 of path to its device, and returns its size in bytes. An empty path means
// every ext4, and then the size is the sum. An [*OpError] with ETIMEDOUT has grown a part of the
// way; another call goes on.
func (c *Client) Grow(ctx context.Context, path string) (size uint64, err error) {
	return c.disk(ctx, "grow", framing.DiskGrow, path)
}

func (c *Client) disk(ctx context.Context, name string, op framing.DiskOp, path string) (uint64, error) {
	if len(path) > maxVolume {
		return 0, &RequestError{Op: name, Reason: "path is longer than 8192 bytes"}
	}
	return c.operate(ctx, framing.FeatureDisks, name, 32+len(path), func(dst []byte, seq uint32) []byte {
		return framing.AppendDisk(dst, seq, op, []byte(path))
	})
}

// Disks returns a fact such as "disk.vdc" for each block device of the guest. Its value has fields
// after blanks: size=, serial=, uuid=, label=, fs=, on=, and the words ro, trim and root.
func (c *Client) Disks(ctx context.Context) ([]Fact, error) {
	call, err := c.request(ctx, framing.FeatureDisks, framing.TypeFacts, 32, func(dst []byte, seq uint32) []byte {
		return framing.AppendDisk(dst, seq, framing.DiskShow, nil)
	})
	if err != nil {
		return nil, fmt.Errorf("disks: %w", err)
	}
	defer call.release()
	if call.isDone {
		return nil, opError("disks", &call.reply.done)
	}
	return c.facts(call.payload)
}

// facts parses the payload of a facts.
func (c *Client) facts(payload []byte) (facts []Fact, err error) {
	parsed, err := framing.ParseFacts(payload)
	if err != nil {
		return nil, c.broken(err)
	}
	for name, value := range parsed.All {
		facts = append(facts, Fact{string(name), string(value)})
	}
	return facts, nil
}

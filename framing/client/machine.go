package client

import (
	"context"
	"fmt"
	"math"
	"time"

	"wick/framing"
)

// MaxEntropy is how many bytes of entropy [Client.Restore] can send.
const MaxEntropy = 512

// Restore tells the guest that its machine was restored from a snapshot. It sets the guest's clock,
// unless now is the zero time. It credits the entropy to the kernel's generator and reseeds that:
// at most MaxEntropy bytes, never used before. It thaws a file system that was frozen when the
// snapshot was made. It returns the guest's new epoch.
//
// The error is an [*OpError], a [*RequestError] or an [*UnsupportedError], or wraps the context's,
// [ErrClosed], a [*ConnError] or a [*RemoteError]. All methods about the machine return such
// errors.
func (c *Client) Restore(ctx context.Context, now time.Time, entropy []byte) (epoch uint64, err error) {
	if len(entropy) > MaxEntropy {
		return 0, &RequestError{Op: "restore", Reason: fmt.Sprintf("entropy has %d bytes, a restore holds %d", len(entropy), MaxEntropy)}
	}
	var ns uint64
	if !now.IsZero() {
		ns = uint64(now.UnixNano())
	}
	return c.operate(ctx, framing.FeatureRestore, "restore", 64+len(entropy), func(dst []byte, seq uint32) []byte {
		return framing.AppendRestore(dst, seq, ns, entropy)
	})
}

// Freeze freezes the guest's writable file system, so that a copy of its disk is consistent, and
// returns when it is frozen. [Client.Thaw] or [Client.Restore] thaws it. It also thaws by itself
// after thawAfter, 1 ms to 1 min, even if the host has gone. The error is EBUSY if it is frozen
// already.
func (c *Client) Freeze(ctx context.Context, thawAfter time.Duration) error {
	return c.freeze(ctx, framing.FeatureFreeze, thawAfter, 0)
}

// FreezeCommands is Freeze for the processes of all commands too, and of the workload. They stop
// before the file system does. The error is EOPNOTSUPP if the guest's commands have no cgroups, and
// EAGAIN if a process did not stop. A guest without a disk to freeze stops the processes alone.
func (c *Client) FreezeCommands(ctx context.Context, thawAfter time.Duration) error {
	return c.freeze(ctx, framing.FeatureIdentity, thawAfter, framing.FreezeCommands)
}

func (c *Client) freeze(ctx context.Context, f Features, thawAfter time.Duration, flags framing.FreezeFlags) error {
	ms, ok := milliseconds(thawAfter)
	if !ok || ms == 0 {
		return &RequestError{Op: "freeze", Reason: fmt.Sprintf("thaw time %v is outside 1..%d ms", thawAfter, uint32(math.MaxUint32))}
	}
	_, err := c.operate(ctx, f, "freeze", 32, func(dst []byte, seq uint32) []byte {
		return framing.AppendFreeze(dst, seq, ms, flags)
	})
	return err
}

// Thaw ends a Freeze. The error is EINVAL if the file system is not frozen, perhaps because its
// time has passed.
func (c *Client) Thaw(ctx context.Context) error {
	_, err := c.operate(ctx, 0, "thaw", framing.HeaderSize, func(dst []byte, seq uint32) []byte {
		return framing.AppendFrame(dst, framing.TypeThaw, seq, nil)
	})
	return err
}

// PowerOff ends the machine. Processes are asked to end, and are killed after grace; 0 means the
// guest's default (5 s). Then the disk is written and made read-only. PowerOff returns when that is
// done, right before the machine and the connection end.
//
// An [*OpError] with EPERM is a guest that does not end, because its agent is not process 1. Any
// other says what was not clean, and the machine ends.
func (c *Client) PowerOff(ctx context.Context, grace time.Duration) error {
	return c.power(ctx, "power off", framing.PowerOff, grace)
}

// Reboot is PowerOff with a restart, or what the machine's monitor makes of a reset.
func (c *Client) Reboot(ctx context.Context, grace time.Duration) error {
	return c.power(ctx, "reboot", framing.PowerRestart, grace)
}

// Halt is PowerOff for a machine that stops and keeps existing.
func (c *Client) Halt(ctx context.Context, grace time.Duration) error {
	return c.power(ctx, "halt", framing.PowerHalt, grace)
}

func (c *Client) power(ctx context.Context, op string, how framing.PowerHow, grace time.Duration) error {
	ms, ok := milliseconds(grace)
	if !ok {
		return &RequestError{Op: op, Reason: fmt.Sprintf("grace %v is outside 0..%d ms", grace, uint32(math.MaxUint32))}
	}
	_, err := c.operate(ctx, framing.FeaturePower, op, 32, func(dst []byte, seq uint32) []byte {
		return framing.AppendPower(dst, seq, how, ms)
	})
	return err
}

package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"wick/cmd/wick/internal/cache"
	"wick/cmd/wick/internal/vmm"
)

// trialLimit is how long a kernel may take to panic under KVM. With a working KVM it takes half a
// second.
const trialLimit = 5 * time.Second

// Trial runs the trial of package vmm with a kernel. The result is kept until the host's next boot.
//
// The kernel is booted without a disk, and must get as far as the panic about that. Less would
// prove little. On some hosts that are guests themselves, a few instructions in real mode run well.
// Then QEMU cannot set a register, or the kernel never leaves its first page.
func Trial(ctx context.Context, dir cache.Dir, kernel string) vmm.Trial {
	return func(c vmm.Choice) (vmm.Answer, error) {
		boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
		if err != nil {
			return vmm.Answer{}, fmt.Errorf("try KVM: %w", err)
		}
		key := cache.NewKey("trial", 1)
		// The kernel's path is enough. One from the cache has its source in its name, and its times
		// change whenever it is used.
		key.Add(string(boot), c.Backend, kernel)
		if err := key.Identity(c.Program); err != nil {
			return vmm.Answer{}, fmt.Errorf("try KVM: %w", err)
		}
		path, err := dir.Get(ctx, key.Name("trial", ".json"),
			func(ctx context.Context, tmp string) error {
				a, err := try(ctx, c, kernel)
				if err != nil {
					return err
				}
				b, err := json.Marshal(a)
				if err != nil {
					return err
				}
				return os.WriteFile(tmp, b, 0o600)
			})
		if err != nil {
			return vmm.Answer{}, fmt.Errorf("try KVM: %w", err)
		}
		var a vmm.Answer
		b, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(b, &a)
		}
		if err != nil {
			return a, fmt.Errorf("try KVM: read what was found out: %w", err)
		}
		return a, nil
	}
}

func try(ctx context.Context, c vmm.Choice, kernel string) (vmm.Answer, error) {
	a := vmm.Answer{TSCkHz: vmm.MeasureTSC()}
	d, err := newDir(false)
	if err != nil {
		return a, err
	}
	defer d.remove()
	c.KVM = true
	spec := vmm.Spec{Kernel: kernel, NoVsock: true, Verbose: true}
	limit, cancel := context.WithTimeout(ctx, trialLimit)
	defer cancel()
	m, err := Start(limit, Config{Spec: spec, Choice: c, Dir: d.path})
	if failed, ok := errors.AsType[*MonitorError](err); ok {
		a.Reason = firstLine(failed.Error())
		return a, nil
	}
	if err == nil {
		defer m.Kill()
		_, err = m.Wait(limit)
	}
	switch {
	case ctx.Err() != nil:
		return a, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		a.Reason = fmt.Sprintf("a kernel did not boot within %v", trialLimit)
	case err != nil:
		return a, err
	case m.Exit().Panic != "":
		a.KVM = true
	case m.Exit().Err != nil:
		a.Reason = firstLine(m.Exit().Err.Error())
	default:
		a.Reason = "a kernel ended the machine before it got anywhere"
	}
	return a, nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

package machine

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"wick/cmd/wick/internal/vmm"
	"wick/framing/client"
)

const (
	// usualMemory is a machine's default memory, in MiB. The kernels that wick knows boot with it.
	usualMemory = 128
	// crowd is how many processors of a machine each of the host's may emulate before a boot takes
	// minutes. They wait for each other while they start.
	crowd = 4
)

// fits refuses a machine whose memory cannot hold its kernel and initramfs. QEMU would start it,
// and then it would do nothing.
func fits(spec *vmm.Spec) error {
	var need uint64
	if f, err := elf.Open(spec.Kernel); err == nil {
		defer f.Close()
		for _, p := range f.Progs {
			if p.Type == elf.PT_LOAD {
				need += p.Memsz
			}
		}
	}
	if info, err := os.Stat(spec.Initramfs); err == nil {
		need += uint64(info.Size())
	}
	memory := cmp.Or(spec.MemoryMiB, usualMemory)
	if need <= uint64(memory)<<20 {
		return nil
	}
	const text = "boot a machine of %d MiB: its kernel and initramfs alone take %d MiB; give it more (--mem)"
	return fmt.Errorf(text, memory, need>>20)
}

// slow returns a warning about a machine that boots slowly, or "".
func slow(c *Config) string {
	if !c.Choice.KVM && c.Spec.CPUs > crowd*runtime.NumCPU() {
		const text = "%d processors are emulated by this host's %d: the boot may take minutes (--cpus)"
		return fmt.Sprintf(text, c.Spec.CPUs, runtime.NumCPU())
	}
	refused := strings.Contains(c.Choice.NoKVM, os.ErrPermission.Error())
	if _, err := os.Stat("/dev/kvm"); err == nil && refused {
		return "the machine is emulated, which is slow: " + c.Choice.NoKVM +
			" (add the user to the group kvm)"
	}
	return ""
}

// suspect adds to a boot error the settings of the machine that may be the reason. It does not
// change an error that the guest has explained.
func (m *Machine) suspect(err error) error {
	if _, said := errors.AsType[*client.BootError](err); said {
		return err
	}
	mute := !m.ended() || m.exit.Killed || m.exit == (Exit{})
	spec := m.config.Spec
	var found []string
	if mute && spec.CPUs > runtime.NumCPU() {
		const text = "it has %d processors, and this host %d (--cpus)"
		found = append(found, fmt.Sprintf(text, spec.CPUs, runtime.NumCPU()))
	}
	short := spec.MemoryMiB != 0 && spec.MemoryMiB < usualMemory
	if short && (mute || strings.Contains(m.exit.Panic, "memory")) {
		const text = "it has %d MiB of memory, which may be too little (--mem)"
		found = append(found, fmt.Sprintf(text, spec.MemoryMiB))
	}
	if choice := m.config.Choice; mute && !choice.KVM && choice.NoKVM != "" {
		found = append(found, "it is emulated, as KVM cannot be used ("+choice.NoKVM+")")
	}
	if len(found) == 0 {
		return err
	}
	return fmt.Errorf("%w; %s", err, strings.Join(found, "; "))
}

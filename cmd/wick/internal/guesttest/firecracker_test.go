package guesttest

import (
	"strings"
	"testing"
)

// firecrackerDefaults has the words with which Firecracker v1.16.1 boots a kernel by default, and
// pci=off, which it adds. They are DEFAULT_KERNEL_CMDLINE in src/vmm/src/vmm_config/boot_source.rs.
const firecrackerDefaults = "reboot=k panic=1 nomodule 8250.nr_uarts=0 i8042.noaux i8042.nomux i8042.dumbkbd swiotlb=noforce pci=off"

// TestFirecrackerDefaults boots a kernel with everything built in by Firecracker's own words. There
// is no console. Ctrl-Alt-Del and a reset by the keyboard controller end the machine.
func TestFirecrackerDefaults(t *testing.T) {
	t.Parallel()
	l := needFixture(t)
	if l.Initramfs != "" {
		t.Skip("Debian's kernel needs an initramfs: set WICK_KERNEL=$(scripts/guest-kernel)")
	}
	c := usual(t, l)
	c.Keyboard = true
	c.Cmdline = strings.Fields(firecrackerDefaults)
	v, conn := boot(t, l, c)
	if got := run(t, conn, "cat /proc/cmdline"); !strings.Contains(got, firecrackerDefaults) {
		t.Errorf("the command line is %q, want %q in it", got, firecrackerDefaults)
	}
	run(t, conn, "echo kept >/root/last")
	if err := v.CtrlAltDel(deadline(t, stepLimit)); err != nil {
		t.Fatal(err)
	}
	v.gone()
	if lines := v.ConsoleTail(0); len(lines) != 0 {
		t.Errorf("a machine without a console has said %q", lines)
	}
	wantClean(t, c.overlay)
	if got := onDisk(t, c.overlay, "/root/last"); got != "kept\n" {
		t.Errorf("on the disk there is %q, want %q", got, "kept\n")
	}
}

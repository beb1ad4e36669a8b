// Package machine boots microVMs from a Go program, as "wick run" does from a shell.
//
//	m, err := machine.Boot(ctx, machine.Config{Image: "alpine:3.20"})
//	if err != nil {
//		return err
//	}
//	defer m.Kill()
//	out, err := m.Command("uname", "-r").Output(ctx)
//
// [Boot] returns when the guest has said ready. [Machine.Client] then runs commands, copies files
// and connects to ports of the guest: see package [wick/framing/client]. [Machine.Stop] shuts the
// guest down in order, and [Machine.Kill] ends it like a power failure. After either, and after a
// guest that went down by itself, nothing of the machine is left on the host. A [Pool] keeps
// machines booted ahead.
//
// # The host
//
// A machine needs what "wick run" needs: Linux, Firecracker or QEMU, mksquashfs, mkfs.ext4 and
// vm-init. vm-init is looked for beside the running program and in the PATH. A kernel is fetched
// once, unless [Config] names one. Images and kernels are kept in the cache of "wick run".
// embedding.md has more.
//
// # Ownership
//
// The monitor is a child of this process, and the kernel kills it when this process ends, however
// that ends. The next machine that is booted in the same directory removes what was left. A
// machine takes the output of the monitor and one goroutine for each connection; no method blocks
// another.
package machine

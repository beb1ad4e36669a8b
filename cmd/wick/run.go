//go:build linux

package main

import (
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/help"
	"wick/cmd/wick/internal/units"
	"wick/cmd/wick/internal/vmm"
)

// initDefault is the value of --init without one.
const initDefault = "default"

// runCommand returns wick run.
func (t *tool) runCommand() *cobra.Command {
	r := runner{t: t}
	cmd := &cobra.Command{
		Use:   "run [flags] [IMAGE | --] [COMMAND [ARG]...]",
		Short: "Boot a microVM, run a command in it, and power it off",
		Long: `Boot a microVM, run a command in it, pass on its output and its exit code, and power
the microVM off.

The first argument is a container IMAGE: a registry's reference such as alpine:3.20,
docker-archive:FILE (the output of docker save), oci-archive:FILE[:TAG], oci:DIR[:TAG] or
docker-daemon:NAME. A registry's is pulled with the credentials of docker's configuration,
unless it is in the cache; see wick pull and wick load. COMMAND replaces the image's
command, and -e, -w, -u and --entrypoint its other settings, as in docker.

After --, or with --rootfs, all arguments are COMMAND, and there is no image. wick run
alpine runs the image alpine, and wick run -- alpine a command of that name in a small
busybox system. With -c, COMMAND is one line for the shell, and without another argument
it runs in that system too. --rootfs is a directory, a tar or a squashfs. File systems
mounted inside a directory are left out.

vm-init is added to the root image as /sbin/vm-init. The image is never written to: the
guest writes to an overlay disk of its own. The kernel is Debian's cloud kernel, unless
--kernel names one with everything built in. All of them are cached for the next run.

The machine runs on Firecracker if it is installed and KVM works, otherwise on QEMU, with
KVM or emulated. A machine of another architecture (--arch) is always emulated, and needs
a vm-init of that architecture.

-p 8080:80 publishes port 80 of the guest as 127.0.0.1:8080, over the connection to the
agent. The guest needs no network device for it, so the published port is the only way to
reach the guest. -p may be repeated and takes the forms of wick forward, such as
0.0.0.0:8080:80 and 8080:unix:/run/app.sock. -P publishes each TCP port that the image
exposes, at a free port that is printed.

-v HOST:GUEST shares a directory, and -v NAME:GUEST mounts a disk that stays. It is made at
first use, with the files that the image has there; wick volume ls lists those. -v HOST:GUEST:copy gives the guest a copy. On
Firecracker a directory is always copied. --out GUEST:HOST copies a file or a directory out
at the end, also after a failure. A size is a number with a unit, such as 128M or 1.5G, and
a time is such as 30s; a number alone is in seconds.

Without --net the guest has no network interface: wick reaches it over vsock. With
--net user it reaches what this host reaches, without root, except the host's own
loopback. --net user,host-loopback adds that, at 10.0.2.2. Both need QEMU. --net tap=NAME
uses an existing tap device; the fields of wick net set may follow:
--net tap=tap0,addr=172.16.0.2/24,gw=172.16.0.1.

--from DIR runs a copy of the machine that wick snapshot saved in DIR, with a machine-id and
disks of its own. It goes on with the command that ran there, or runs COMMAND. DIR must stay
while copies run, and wick start begins with it again.

-i and -t are as for wick exec, and so is COMMAND without an IMAGE: wick run -it -- sh is a
shell in a new machine.
The exit code is the command's, or 125 if the machine could not be built, booted or
reached.

Without IMAGE and COMMAND the machine's own workload is awaited, which /etc/vm-init.conf of
the root image names, or --init-arg=--workload=PROGRAM. Its output and exit code are passed
on, from run to run until it is not started again.`,
		Example: `  wick run -it alpine
  wick run -e NAME=you python:3-slim python -c 'import os; print(os.environ["NAME"])'
  wick run -- uname -a
  wick run -it -- sh
  wick run --rootfs ./rootfs -m 256M -- /srv/selftest
  wick run -v ./src:/src:ro -v cache:/cache --out /cache/report:. python:3-slim python /src/test.py
  wick run --put ./app:/srv/app -- /srv/app --version
  wick run --net user -- wget -O- http://example.org/
  wick run -p 8080:80 -- httpd -f -p 80
  wick run --console --kernel vmlinux -c 'dmesg | tail -n 3'
  wick run --init-arg=--workload=/bin/date`,
		ValidArgsFunction: completeImageFirst,
		RunE:              r.run,
	}
	f := cmd.Flags()
	r.flags.add(cmd)
	r.image.add(cmd)
	f.StringVar(&r.options.Rootfs, "rootfs", "", "root image: a `DIR`, a tar, or a squashfs")
	f.StringVar(&r.options.From, "from", "", "go on from the snapshot in `DIR`, which wick snapshot made")
	f.StringVar(&r.options.Arch, "arch", "", "`ARCH` of the machine, amd64 (x86_64) or arm64 (aarch64) (default: the host's)")
	f.StringVar(&r.options.Kernel, "kernel", "", "kernel `FILE` with virtio, squashfs, overlay, ext4 and vsock built in")
	f.StringArrayVar(&r.options.Modules, "module", nil, "load another `MODULE` of Debian's kernel, such as vsock_loopback; may be repeated")
	r.options.MemoryMiB, r.options.CPUs = 128, 1
	f.VarP(units.MiB(&r.options.MemoryMiB, 1), "memory", "m", "memory: a `SIZE` such as 256M or 1.5G")
	f.Var(units.MiB(&r.options.MemoryMiB, 1<<20), "mem", "the same; a `SIZE` without a unit is in MiB")
	f.Lookup("mem").DefValue = ""
	f.Var(units.CPUs(&r.options.CPUs), "cpus", "`NUMBER` of processors; a fraction is rounded up")
	f.StringVar(&r.options.Overlay, "overlay", "", "use and keep this overlay disk: a `FILE` with an ext4; tmpfs: use the guest's memory")
	f.Var(units.MiB(&r.options.OverlayMiB, 1<<20), "overlay-size", "`SIZE` of the overlay disk made for this run, by default in MiB (default 512M)")
	r.volumes.add(cmd)
	f.StringVar(&r.network, "net", "none", "`NETWORK` of the guest: none, user, user,host-loopback, or tap=NAME[,FIELD]...")
	network := f.Lookup("network")
	network.Value = networkValue{network.Value, &r.network}
	network.Usage = "`NETWORK` as for --net, or private: a namespace for the command, with lo alone"
	r.host.add(cmd)
	f.StringArrayVar(&r.puts, "put", nil, "copy a file or a directory into the guest first: `LOCAL:GUEST`; may be repeated")
	f.StringArrayVarP(&r.publish, "publish", "p", nil, "publish a port of the guest: `HOST:GUEST`, such as 8080:80; may be repeated")
	f.BoolVarP(&r.publishAll, "publish-all", "P", false, "publish each TCP port that the image exposes, at any free port")
	f.BoolVar(&r.options.Keep, "keep", false, "keep the overlay disk and the console's log, and print where")
	f.StringVar(&r.console, "console", "", "show the guest's console on stderr: `text`, with ? for terminal controls, or =raw")
	f.Lookup("console").NoOptDefVal = consoleText
	f.StringVar(&r.options.VMM, "vmm", "", "force `NAME`: firecracker, qemu-vhost or qemu")
	f.Var(units.Time(&r.options.BootLimit, 60*time.Second), "boot-timeout", "how long to wait until the guest is ready")
	f.StringVar(&r.options.Init, "init", "", "vm-init `FILE` (default: beside wick, or in the PATH); without FILE, accepted: it reaps orphans")
	f.Lookup("init").NoOptDefVal = initDefault
	f.StringArrayVar(&r.options.InitArgs, "init-arg", nil, "`ARG` for vm-init, such as --log-level=debug; may be repeated")
	cmd.MarkFlagDirname("from")
	cmd.RegisterFlagCompletionFunc("publish", cobra.NoFileCompletions)
	cmd.RegisterFlagCompletionFunc("arch", cobra.FixedCompletions(vmm.Archs(), cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("net", cobra.FixedCompletions([]string{"none", "user", "user,host-loopback", "tap="}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("vmm", cobra.FixedCompletions([]string{vmm.Firecracker, vmm.QEMUVhost, vmm.QEMU}, cobra.ShellCompDirectiveNoFileComp))
	r.stay.add(cmd, &r.flags.detach)
	help.Group(cmd, "The command", "interactive tty env env-file dir user line entrypoint timeout root limit usage wait-output")
	help.Group(cmd, "The machine", "detach name rm restart stop-signal stop-timeout label cidfile memory mem cpus hostname arch")
	help.Group(cmd, "Files and disks", "volume mount tmpfs put out disk drive overlay overlay-size keep")
	help.Group(cmd, "Network", "publish publish-all net network dns dns-search add-host")
	help.Group(cmd, "The image", "image pull platform rootfs from")
	help.Group(cmd, "Confinement of the command", confinement+" privileged")
	help.Group(cmd, "The boot", "kernel module init init-arg vmm boot-timeout console")
	return cmd
}

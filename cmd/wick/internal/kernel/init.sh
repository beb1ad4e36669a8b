#!/busybox sh
# Loads the modules that the kernel needs for its devices, and hands over to vm-init. An error is
# printed on the console. Then init exits, so the kernel panics, and that ends the machine.
# settings
fail() {
	echo "initramfs: $*" >/dev/console
	exit 1
}
/busybox mount -t devtmpfs devtmpfs /dev || fail "cannot mount /dev"
for m in $modules; do
	insmod /modules/$m || fail "cannot load $m"
done
if [ "$stay" ]; then
	/busybox rm -rf /modules /busybox /init
	unset PATH PWD OLDPWD SHLVL # see below
	exec $init "$@"
fi
# A device exists as soon as its driver is loaded, except a disk with a slow backend.
n=0
until [ -b /dev/vda ]; do
	[ $n -lt 50 ] || fail "no disk /dev/vda"
	n=$((n + 1))
	/busybox usleep 100000
done
/busybox mount -t squashfs -o ro /dev/vda /root || fail "cannot mount /dev/vda, the root image"
if [ -d /root/dev ]; then
	/busybox mount -o move /dev /root/dev
else
	/busybox umount /dev
fi
# These variables are the shell's own. The kernel did not give them to init.
unset PATH PWD OLDPWD SHLVL
# switch_root deletes the files of the initramfs, which frees its memory.
exec /busybox switch_root /root $init "$@"

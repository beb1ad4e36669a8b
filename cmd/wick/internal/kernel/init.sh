#!/busybox sh
# Loads the modules that the kernel needs to see its devices, and hands over to vm-init. Whatever goes wrong is said on the
# console; init's end then is the kernel's panic, and that ends the machine.
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
# A device is there as soon as its driver is, but for a disk whose backend is slow.
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
# What this shell made of its environment is none of what the kernel gave to init.
unset PATH PWD OLDPWD SHLVL
# switch_root deletes what is in the initramfs, which gives its memory back.
exec /busybox switch_root /root $init "$@"

# Builds the guest with the real xe driver: Debian's kernel and its own xe, and IGT's own programs that flows run in guests, on an
# initramfs. Kernel and initramfs are also on a disk that boots by itself, as a user's image would.
. /mnt/in/image/lib.sh
. /mnt/in/image/xe-lib.sh
tree=/mnt/tmp/guest
tests=/usr/libexec/igt-gpu-tools
skeleton "$tree"
install_program "$tree" /usr/bin/kmod /usr/sbin/qemu-ga /usr/bin/igt_runner /usr/bin/pgrep
for name in xe_exec_basic xe_exec_store xe_exec_reset xe_exec_threads xe_spin_batch xe_ccs xe_compute_preempt benchmarks/gem_wsim; do
	install_program "$tree" "$tests/$name"
done
# igt_runner wants to know all tests there are, whatever it is asked to run.
{
	echo TESTLIST
	(cd "$tree$tests" && ls -p | grep -v / | tr '\n' ' ')
	echo
	echo "END TESTLIST"
} >/mnt/tmp/test-list.txt
mv /mnt/tmp/test-list.txt "$tree$tests/test-list.txt"
install_igt "$tree"
for name in modprobe rmmod insmod lsmod depmod modinfo; do
	ln -sf ../bin/kmod "$tree/usr/sbin/$name"
	rm -f "$tree/usr/bin/$name"
done
install_modules "$tree" virtio_blk virtio_net vfat pvpanic-pci evdev button xe
depmod -b "$tree" "$kv"
cp -r /mnt/in/image/guest/etc/. "$tree/etc/"
install -m 755 /mnt/in/image/guest/shutdown "$tree/usr/sbin/shutdown"
mkdir -p "$tree/etc/qemu"
ln -s sbin/init "$tree/init"
ln -sf ../bin/busybox "$tree/usr/sbin/init"
chmod 755 "$tree/etc/rc"
pack "$tree" /mnt/out/guest-initrd
cp "/usr/lib/modules/$kv/vmlinuz" /mnt/out/guest-vmlinuz
du -sm "$tree" # how much memory it takes

size=$(($(du -cm /mnt/out/guest-vmlinuz /mnt/out/guest-initrd | tail -1 | cut -f1) + 8))
truncate -s "${size}M" /mnt/out/guest.img
mkfs.vfat -n VMTBGUEST /mnt/out/guest.img >/dev/null
export MTOOLS_SKIP_CHECK=1
mcopy -i /mnt/out/guest.img /mnt/out/guest-vmlinuz ::vmlinuz
mcopy -i /mnt/out/guest.img /mnt/out/guest-initrd ::initrd
mcopy -i /mnt/out/guest.img /mnt/in/image/guest/syslinux.cfg ::syslinux.cfg
syslinux --install /mnt/out/guest.img

# Builds the guest: a kernel and an initramfs, and both again on a disk that boots by itself, as a user's image would.
. /mnt/in/image/lib.sh
tree=/mnt/tmp/guest
skeleton "$tree"
install_program "$tree" /usr/bin/kmod /usr/sbin/qemu-ga /usr/bin/igt_runner /usr/bin/pgrep
install_workloads "$tree"
ln -s /usr/libexec/igt-gpu-tools/standin "$tree/usr/bin/vim"
for name in modprobe rmmod insmod lsmod depmod modinfo; do
	ln -sf ../bin/kmod "$tree/usr/sbin/$name"
	rm -f "$tree/usr/bin/$name"
done
install_modules "$tree" virtio_blk virtio_net vfat pvpanic-pci evdev button drm drm_kms_helper
cp /mnt/in/xe.ko "$tree/usr/lib/modules/$kv/updates/"
depmod -b "$tree" "$kv"
cp -r /mnt/in/image/guest/etc/. "$tree/etc/"
install -m 755 /mnt/in/image/guest/shutdown "$tree/usr/sbin/shutdown"
mkdir -p "$tree/etc/qemu"
ln -s sbin/init "$tree/init"
ln -sf ../bin/busybox "$tree/usr/sbin/init"
chmod 755 "$tree/etc/rc"
pack "$tree" /mnt/out/guest-initrd
cp "/boot/vmlinuz-$kv" /mnt/out/guest-vmlinuz

truncate -s 48M /mnt/out/guest.img
mkfs.vfat -n VMTBGUEST /mnt/out/guest.img >/dev/null
export MTOOLS_SKIP_CHECK=1
mcopy -i /mnt/out/guest.img /mnt/out/guest-vmlinuz ::vmlinuz
mcopy -i /mnt/out/guest.img /mnt/out/guest-initrd ::initrd
mcopy -i /mnt/out/guest.img /mnt/in/image/guest/syslinux.cfg ::syslinux.cfg
syslinux --install /mnt/out/guest.img

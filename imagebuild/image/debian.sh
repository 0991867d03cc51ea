# Makes a guest image for people out of a tree of Debian packages: a disk with two partitions, FAT with the boot loader, the
# kernel and its initramfs, and ext4 with everything else. The tree is in /mnt/in/tree.tar, what was asked for in /mnt/in/vmtb-image.
. /mnt/in/image/lib.sh
. /mnt/in/vmtb-image
tree=/mnt/tmp/tree
mkdir "$tree"
tar -C "$tree" --numeric-owner -xf /mnt/in/tree.tar
kv=$(ls "$tree/lib/modules")

cp /mnt/in/vmtb-image "$tree/etc/vmtb-image"
echo vmtb-guest >"$tree/etc/hostname"
echo '127.0.0.1 localhost vmtb-guest' >"$tree/etc/hosts"
# Of networks it meets QEMU's own, if any ("vmtb vm start --ssh"), where addresses come by DHCP and this one answers for names.
printf '[Match]\nName=en* eth*\n[Network]\nDHCP=ipv4\n' >"$tree/etc/systemd/network/80-dhcp.network"
chroot "$tree" systemctl -q enable systemd-networkd
rm -f "$tree/etc/resolv.conf"
echo 'nameserver 10.0.2.3' >"$tree/etc/resolv.conf"
printf 'LABEL=vmtb-root / ext4 defaults 0 1\n' >"$tree/etc/fstab"
: >"$tree/etc/machine-id" # each machine makes its own
passwd -R "$tree" -d root >/dev/null
# An emulated machine may take longer to find a device or to start a service than systemd waits (90 s), and systemd does not
# try again: the login on the serial console waits for dev-ttyS0.device.
mkdir -p "$tree/etc/systemd/system.conf.d"
printf '[Manager]\nDefaultDeviceTimeoutSec=infinity\nDefaultTimeoutStartSec=15min\n' >"$tree/etc/systemd/system.conf.d/slow.conf"
# Whoever has the serial console is root: it is a socket of the host that only root can open.
mkdir -p "$tree/etc/systemd/system/serial-getty@ttyS0.service.d"
printf '[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --keep-baud 115200 %%I vt220\n' \
	>"$tree/etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf"
# IGT is where upstream's configuration, and so vmtb's default, looks for it.
mkdir -p "$tree/usr/local/libexec" "$tree/usr/local/bin"
ln -sfn /usr/libexec/igt-gpu-tools "$tree/usr/local/libexec/igt-gpu-tools"
ln -sf /usr/bin/igt_runner "$tree/usr/local/bin/igt_runner"

# A guest has what QEMU gives it, so its initramfs needs no more.
printf 'virtio_blk\nvirtio_pci\next4\nahci\nata_piix\nsd_mod\n' >>"$tree/etc/initramfs-tools/modules"
sed -i 's/^MODULES=.*/MODULES=list/' "$tree/etc/initramfs-tools/initramfs.conf"
for dir in proc dev; do
	mount --bind "/$dir" "$tree/$dir"
done
chroot "$tree" update-initramfs -c -k "$kv"
umount "$tree/proc" "$tree/dev"

# Sizes in sectors of 512 bytes; FAT's own idea of where it begins is what the boot loader goes by.
first=2048
boot=$((192 * 2048))
truncate -s $((boot * 512)) /mnt/tmp/boot.img
mkfs.vfat -F 32 -h $first -n VMTBBOOT /mnt/tmp/boot.img >/dev/null
export MTOOLS_SKIP_CHECK=1
kernel="$tree/boot/vmlinuz-$kv"
[ -e "$kernel" ] || kernel="$tree/usr/lib/modules/$kv/vmlinuz" # where Debian's kernels from 7.3 on have it
mcopy -i /mnt/tmp/boot.img "$kernel" ::vmlinuz
mcopy -i /mnt/tmp/boot.img "$tree/boot/initrd.img-$kv" ::initrd
# Drivers of GPUs are loaded by flows, or by hand, not at boot. What the kernel says is judged by what comes on the console: all
# of it, with its level.
cat >/mnt/tmp/syslinux.cfg <<END
SERIAL 0 115200
DEFAULT linux
LABEL linux
  LINUX vmlinuz
  INITRD initrd
  APPEND root=LABEL=vmtb-root rw console=tty0 console=ttyS0,115200 modprobe.blacklist=xe,i915 loglevel=7 console_msg_format=syslog
END
mcopy -i /mnt/tmp/boot.img /mnt/tmp/syslinux.cfg ::syslinux.cfg
syslinux --install /mnt/tmp/boot.img
rm -f "$tree"/boot/initrd.img-* "$tree"/boot/vmlinuz-* "$tree"/usr/lib/modules/*/vmlinuz

disk=/mnt/tmp/disk.img
truncate -s "${size_mib}M" "$disk"
printf 'start=%d, size=%d, type=c, bootable\nstart=%d, type=83\n' $first $boot $((first + boot)) | sfdisk -q "$disk"
dd if=/usr/lib/syslinux/mbr/mbr.bin of="$disk" bs=440 count=1 conv=notrunc status=none
dd if=/mnt/tmp/boot.img of="$disk" bs=1M seek=$((first / 2048)) conv=notrunc,sparse status=none
truncate -s $((size_mib * 1048576 - (first + boot) * 512)) /mnt/tmp/root.img
mke2fs -q -t ext4 -L vmtb-root -E lazy_itable_init=1,nodiscard -d "$tree" /mnt/tmp/root.img
dd if=/mnt/tmp/root.img of="$disk" bs=1M seek=$(((first + boot) / 2048)) conv=notrunc,sparse status=none
qemu-img convert -f raw -O qcow2 "$disk" /mnt/out/guest.qcow2

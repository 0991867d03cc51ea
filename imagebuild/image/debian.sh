# Makes the guest image of "vmtb image build" from a tree of Debian packages. The image is a disk
# with two partitions: FAT with the boot loader, the kernel and its initramfs, and ext4 with
# everything else. /mnt/in/tree.tar has the tree, /mnt/in/vmtb-image the options.
. /mnt/in/image/lib.sh
. /mnt/in/vmtb-image
tree=/mnt/tmp/tree
mkdir "$tree"
tar -C "$tree" --numeric-owner -xf /mnt/in/tree.tar
kv=$(ls "$tree/lib/modules")

cp /mnt/in/vmtb-image "$tree/etc/vmtb-image"
echo vmtb-guest >"$tree/etc/hostname"
echo '127.0.0.1 localhost vmtb-guest' >"$tree/etc/hosts"
# The only network of a guest is QEMU's user network ("vmtb vm start --ssh"). It gives addresses by
# DHCP; its name server is 10.0.2.3.
printf '[Match]\nName=en* eth*\n[Network]\nDHCP=ipv4\n' >"$tree/etc/systemd/network/80-dhcp.network"
chroot "$tree" systemctl -q enable systemd-networkd
rm -f "$tree/etc/resolv.conf"
echo 'nameserver 10.0.2.3' >"$tree/etc/resolv.conf"
printf 'LABEL=vmtb-root / ext4 defaults 0 1\n' >"$tree/etc/fstab"
: >"$tree/etc/machine-id" # empty: systemd makes a new id in each machine
passwd -R "$tree" -d root >/dev/null
# systemd waits 90 s for a device or a service and does not try again. In an emulated machine either
# may take longer, and the login on the serial console waits for dev-ttyS0.device.
mkdir -p "$tree/etc/systemd/system.conf.d"
printf '[Manager]\nDefaultDeviceTimeoutSec=infinity\nDefaultTimeoutStartSec=15min\n' >"$tree/etc/systemd/system.conf.d/slow.conf"
# The serial console needs no password: it is a socket of the host that only root can open.
mkdir -p "$tree/etc/systemd/system/serial-getty@ttyS0.service.d"
printf '[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --keep-baud 115200 %%I vt220\n' \
	>"$tree/etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf"
# Upstream's configuration and vmtb's default look for IGT at these paths.
mkdir -p "$tree/usr/local/libexec" "$tree/usr/local/bin"
ln -sfn /usr/libexec/igt-gpu-tools "$tree/usr/local/libexec/igt-gpu-tools"
ln -sf /usr/bin/igt_runner "$tree/usr/local/bin/igt_runner"

# A guest's disk is on one of QEMU's controllers: the initramfs needs only these modules.
printf 'virtio_blk\nvirtio_pci\next4\nahci\nata_piix\nsd_mod\n' >>"$tree/etc/initramfs-tools/modules"
sed -i 's/^MODULES=.*/MODULES=list/' "$tree/etc/initramfs-tools/initramfs.conf"
for dir in proc dev; do
	mount --bind "/$dir" "$tree/$dir"
done
chroot "$tree" update-initramfs -c -k "$kv"
umount "$tree/proc" "$tree/dev"

# Sizes are in sectors of 512 bytes. mkfs.vfat -h stores the partition's start in the FAT, where the
# boot loader reads it.
first=2048
boot=$((192 * 2048))
truncate -s $((boot * 512)) /mnt/tmp/boot.img
mkfs.vfat -F 32 -h $first -n VMTBBOOT /mnt/tmp/boot.img >/dev/null
export MTOOLS_SKIP_CHECK=1
kernel="$tree/boot/vmlinuz-$kv"
[ -e "$kernel" ] || kernel="$tree/usr/lib/modules/$kv/vmlinuz" # the path in Debian's kernel packages from 7.3 on
mcopy -i /mnt/tmp/boot.img "$kernel" ::vmlinuz
mcopy -i /mnt/tmp/boot.img "$tree/boot/initrd.img-$kv" ::initrd
# The GPU drivers are not loaded at boot: flows or users load them. vmtb checks kernel messages on
# the console, so the console gets all messages with their level.
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

# Builds the DUT: its disk (the root tree without the build tools, with the guest and the modules in
# it), its kernel, and a small initramfs that finds the disk.
. /mnt/in/image/lib.sh
root=/mnt/tmp/dut
mkdir -p "$root"
# Packages that the user adds to the lab (/etc/vmtb-lab-packages) may need Python and Perl.
[ -e /etc/vmtb-lab-packages ] ||
	set -- --exclude=./usr/lib/python3* --exclude=./usr/bin/python3* --exclude=./usr/share/perl --exclude=./usr/lib/x86_64-linux-gnu/perl
tar -C / --one-file-system -cf - "$@" \
	--exclude=./mnt --exclude=./boot --exclude=./var/cache --exclude=./var/lib/apt --exclude=./usr/src \
	--exclude=./usr/include --exclude=./usr/lib/gcc --exclude=./usr/libexec/gcc --exclude=./usr/lib/linux-kbuild-* \
	--exclude=./usr/lib/go* --exclude=./usr/share/go* \
	--exclude=./usr/lib/x86_64-linux-gnu/*.a --exclude=./usr/lib/x86_64-linux-gnu/libbfd* \
	--exclude=./usr/lib/udev --exclude=./usr/lib/systemd --exclude=./usr/lib/x86_64-linux-gnu/systemd \
	--exclude=./usr/share/fonts --exclude=./usr/share/mime \
	--exclude=./usr/share/doc --exclude=./usr/share/man --exclude=./usr/share/locale --exclude=./usr/share/info \
	--exclude=./usr/lib/modules/*/kernel/drivers/media --exclude=./usr/lib/modules/*/kernel/sound \
	--exclude=./usr/lib/modules/*/kernel/drivers/net --exclude=./usr/lib/modules/*/kernel/drivers/infiniband \
	--exclude=./proc/* --exclude=./sys/* --exclude=./dev/* . | tar -C "$root" -xf -
mkdir -p "$root/mnt" "$root/boot" "$root/lab" "$root/usr/lib/modules/$kv/updates" "$root/var/cache" "$root/var/lib/apt"
cp /mnt/in/xe.ko /mnt/in/xe-vfio-pci.ko "$root/usr/lib/modules/$kv/updates/"
depmod -b "$root" "$kv"
install_workloads "$root"
cp -r /mnt/in/image/dut/etc/. "$root/etc/"
chmod 755 "$root/etc/rc"
ln -sf ../bin/busybox "$root/usr/sbin/init"
install -m 755 /mnt/in/image/guest/shutdown "$root/usr/sbin/shutdown"
printf '#!/bin/sh\nexec shutdown -r now\n' >"$root/usr/sbin/reboot"
chmod 755 "$root/usr/sbin/reboot"
cp /mnt/in/guest.img /mnt/in/guest-vmlinuz /mnt/in/guest-initrd "$root/lab/"
echo vmtb-lab >"$root/etc/hostname"

size=$(du -sm "$root" | cut -f1)
truncate -s $((size * 5 / 4 + 1024))M /mnt/out/dut.img
# The DUT's ext4 has a journal, because tests reset the DUT in the middle of its writes.
mke2fs -q -t ext4 -m 0 -J size=16 -E lazy_itable_init=1,nodiscard -d "$root" /mnt/out/dut.img

tree=/mnt/tmp/initramfs
skeleton "$tree"
install_modules "$tree" virtio_blk ext4
depmod -b "$tree" "$kv"
install -m 755 /mnt/in/image/dut/initramfs-init "$tree/init"
pack "$tree" /mnt/out/dut-initrd
cp "/boot/vmlinuz-$kv" /mnt/out/dut-vmlinuz

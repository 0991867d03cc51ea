# Builds the DUT with the real xe driver: its disk (the root tree without the build tools, with the
# guest and the firmware in it), its kernel, and a small initramfs that finds the disk.
. /mnt/in/image/lib.sh
. /mnt/in/image/xe-lib.sh
. /mnt/in/image/xe-kernel.sh
need_modules virtio_pci virtio_blk virtio_console ext4 9p 9pnet_virtio kvm-amd vfio-pci xe
root=/mnt/tmp/dut
mkdir -p "$root"
# Packages that the user adds to the lab (/etc/vmtb-lab-packages) may need Python and Perl.
[ -e /etc/vmtb-lab-packages ] ||
	set -- --exclude=./usr/lib/python3* --exclude=./usr/bin/python3* --exclude=./usr/share/perl --exclude=./usr/lib/x86_64-linux-gnu/perl
modules=./usr/lib/modules/*/kernel
tar -C / --one-file-system -cf - "$@" \
	--exclude=./mnt --exclude=./boot --exclude=./var/cache --exclude=./var/lib/apt --exclude=./usr/src \
	--exclude=./usr/include --exclude=./usr/lib/gcc --exclude=./usr/libexec/gcc --exclude=./usr/lib/linux-kbuild-* \
	--exclude=./usr/lib/x86_64-linux-gnu/*.a --exclude=./usr/lib/x86_64-linux-gnu/libbfd* \
	--exclude=./usr/lib/udev --exclude=./usr/lib/systemd --exclude=./usr/lib/x86_64-linux-gnu/systemd \
	--exclude=./usr/share/fonts --exclude=./usr/share/mime \
	--exclude=./usr/share/doc --exclude=./usr/share/man --exclude=./usr/share/locale --exclude=./usr/share/info \
	--exclude="$modules/drivers/media/[!cr]*" --exclude="$modules/sound" --exclude="$modules/drivers/infiniband" \
	--exclude="$modules/drivers/net/ethernet" --exclude="$modules/drivers/net/wireless" \
	--exclude="$modules/drivers/gpu/drm/amd" --exclude="$modules/drivers/gpu/drm/nouveau" --exclude="$modules/drivers/gpu/drm/radeon" \
	--exclude=./usr/lib/modules/*/vmlinuz \
	--exclude=./proc/* --exclude=./sys/* --exclude=./dev/* . | tar -C "$root" -xf -
mkdir -p "$root/mnt" "$root/boot" "$root/lab" "$root/var/cache" "$root/var/lib/apt" "$root/usr/lib/modules/$kv/updates"
# Stage xe-modules.sh builds xe and xe-vfio-pci from Debian's source. Only a lab for migration has
# that stage; the others use Debian's own xe.
for module in xe.ko xe-vfio-pci.ko; do
	[ ! -e "/mnt/in/$module" ] || cp "/mnt/in/$module" "$root/usr/lib/modules/$kv/updates/"
done
find "$root/usr/lib/modules/$kv/kernel" -name '*.ko.xz' -path '*drm*' -exec xz -d {} + # uncompressed modules load faster
depmod -b "$root" "$kv"
# Check that the exclusions above left out no module that xe needs: it needs parts of drivers/media.
for module in $(modprobe -S "$kv" --show-depends xe | sed -n 's/^insmod .*\/\([^/.]*\)\.ko.*/\1/p'); do
	[ -n "$(find "$root/usr/lib/modules/$kv" -name "$module.ko*")" ] || { echo "The DUT lacks the kernel module $module, which xe needs."; exit 1; }
done
install_igt "$root"
install_firmware "$root"
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
install_modules "$tree" virtio_pci virtio_blk virtio_console ext4
depmod -b "$tree" "$kv"
install -m 755 /mnt/in/image/dut/initramfs-init "$tree/init"
pack "$tree" /mnt/out/dut-initrd
cp "/usr/lib/modules/$kv/vmlinuz" /mnt/out/dut-vmlinuz

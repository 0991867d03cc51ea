# Functions of all build scripts. The scripts run inside the lab's root tree with the work directory
# on /mnt: /mnt/in (vmtb's files), /mnt/out (results to keep), /mnt/tmp.
set -eu
kv=$(ls /lib/modules)

# install_modules TREE NAME...: copies kernel modules and their dependencies from the root tree,
# uncompressed. It makes updates/ for modules that vmtb builds: modprobe prefers the modules in that
# directory.
install_modules() {
	tree=$1
	shift
	moddir=$tree/usr/lib/modules/$kv
	mkdir -p "$moddir/updates"
	for name in "$@"; do
		modprobe -S "$kv" --show-depends "$name" | awk '$1 == "insmod" {print $2}'
	done | sort -u | while read -r file; do
		mkdir -p "$tree/usr/$(dirname "${file#/}")"
		cp "$file" "$tree/usr/${file#/}"
	done
	find "$moddir" -name '*.ko.xz' -exec xz -df {} +
	cp /lib/modules/"$kv"/modules.builtin /lib/modules/"$kv"/modules.builtin.modinfo /lib/modules/"$kv"/modules.order "$moddir/"
}

# install_program TREE PROGRAM...: copies programs with their shared libraries.
install_program() {
	tree=$1
	shift
	for program in "$@"; do
		{
			echo "$program"
			ldd "$program" 2>/dev/null | grep -o '/[^ ]*'
		} | while read -r file; do
			mkdir -p "$tree/usr/$(dirname "${file#/usr}")"
			cp -L "$file" "$tree/usr/${file#/usr}"
		done
	done
}

# skeleton TREE: makes the directories of a Debian system with merged /usr, and installs busybox
# with all of its applets.
skeleton() {
	mkdir -p "$1/usr/bin" "$1/usr/sbin" "$1/usr/lib/x86_64-linux-gnu" "$1/usr/lib64" "$1/dev" "$1/proc" "$1/sys" \
		"$1/run" "$1/tmp" "$1/root" "$1/mnt" "$1/etc" "$1/var"
	for dir in bin sbin lib lib64; do
		ln -s "usr/$dir" "$1/$dir"
	done
	ln -s ../run "$1/var/run"
	cp /usr/bin/busybox "$1/usr/bin/busybox"
	for applet in $(busybox --list); do
		[ -e "$1/usr/bin/$applet" ] || ln -s busybox "$1/usr/bin/$applet"
	done
	ln -s ../bin/busybox "$1/usr/sbin/modprobe" # the kernel runs /sbin/modprobe
}

# pack TREE FILE: packs TREE as an initramfs.
pack() {
	(cd "$1" && find . | cpio --quiet -o -H newc -R 0:0 | zstd -q -10 -T0) >"$2"
}

# guest_skeleton TREE: makes a guest of the lab without drivers and IGT.
guest_skeleton() {
	skeleton "$1"
	install_program "$1" /usr/bin/kmod /usr/sbin/qemu-ga /usr/bin/pgrep
	for name in modprobe rmmod insmod lsmod depmod modinfo; do
		ln -sf ../bin/kmod "$1/usr/sbin/$name"
		rm -f "$1/usr/bin/$name"
	done
	cp -r /mnt/in/image/guest/etc/. "$1/etc/"
	chmod 755 "$1/etc/rc"
	install -m 755 /mnt/in/image/guest/shutdown "$1/usr/sbin/shutdown"
	mkdir -p "$1/etc/qemu"
	ln -s sbin/init "$1/init"
	ln -sf ../bin/busybox "$1/usr/sbin/init"
}

# guest_disk TREE: makes guest.img, a disk with its own boot loader, like a user's image. Its FAT
# partition has the boot loader, the kernel and a small initramfs. Its ext4 partition has TREE. From
# a disk a guest reads only the files that it needs; it would have to unpack a whole initramfs at
# each boot. The ext4 has no journal, because each machine writes to an overlay that is deleted
# later.
guest_disk() {
	initramfs=/mnt/tmp/guest-initramfs
	skeleton "$initramfs"
	install_modules "$initramfs" virtio_pci virtio_console virtio_blk ext4 ahci ata_piix sd_mod
	depmod -b "$initramfs" "$kv"
	install -m 755 /mnt/in/image/guest/initramfs-init "$initramfs/init"
	pack "$initramfs" /mnt/tmp/boot-initrd

	first=2048 # sectors of 512 bytes; mkfs.vfat -h stores it in the FAT, where the boot loader reads it
	boot_mib=$(($(du -cm /mnt/out/guest-vmlinuz /mnt/tmp/boot-initrd | tail -1 | cut -f1) + 8))
	root_mib=$(($(du -sm "$1" | cut -f1) * 5 / 4 + 64))
	truncate -s "${boot_mib}M" /mnt/tmp/boot.img
	mkfs.vfat -h $first -n VMTBGUEST /mnt/tmp/boot.img >/dev/null
	export MTOOLS_SKIP_CHECK=1
	mcopy -i /mnt/tmp/boot.img /mnt/out/guest-vmlinuz ::vmlinuz
	mcopy -i /mnt/tmp/boot.img /mnt/tmp/boot-initrd ::initrd
	mcopy -i /mnt/tmp/boot.img /mnt/in/image/guest/syslinux.cfg ::syslinux.cfg
	syslinux --install /mnt/tmp/boot.img
	truncate -s "${root_mib}M" /mnt/tmp/root.img
	mke2fs -q -t ext4 -O ^has_journal -m 0 -L vmtb-root -E root_owner=0:0,nodiscard -d "$1" /mnt/tmp/root.img

	disk=/mnt/out/guest.img
	truncate -s "$((first / 2048 + boot_mib + root_mib))M" "$disk"
	printf 'start=%d, size=%d, type=c, bootable\nstart=%d, type=83\n' $first $((boot_mib * 2048)) $((first + boot_mib * 2048)) | sfdisk -q "$disk"
	dd if=/usr/lib/syslinux/mbr/mbr.bin of="$disk" bs=440 count=1 conv=notrunc status=none
	dd if=/mnt/tmp/boot.img of="$disk" bs=1M seek=$((first / 2048)) conv=notrunc,sparse status=none
	dd if=/mnt/tmp/root.img of="$disk" bs=1M seek=$((first / 2048 + boot_mib)) conv=notrunc,sparse status=none
}

# Builds the guest: a kernel with a complete initramfs, and a disk with its own boot loader.
. /mnt/in/image/lib.sh
tree=/mnt/tmp/guest
guest_skeleton "$tree"
install_program "$tree" /usr/bin/igt_runner
install_workloads "$tree"
ln -s /usr/libexec/igt-gpu-tools/standin "$tree/usr/bin/vim"
install_modules "$tree" virtio_blk virtio_net vfat pvpanic-pci evdev button drm drm_kms_helper
cp /mnt/in/xe.ko "$tree/usr/lib/modules/$kv/updates/"
depmod -b "$tree" "$kv"
pack "$tree" /mnt/out/guest-initrd
cp "/boot/vmlinuz-$kv" /mnt/out/guest-vmlinuz
guest_disk "$tree"

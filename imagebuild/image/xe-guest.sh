# Builds the guest with the real xe driver: a disk with its own boot loader, Debian's kernel and xe,
# and the programs of IGT that flows run in guests. It also builds an initramfs without xe and IGT,
# for tests that boot a kernel directly.
. /mnt/in/image/lib.sh
. /mnt/in/image/xe-lib.sh
. /mnt/in/image/xe-kernel.sh
need_modules virtio_pci virtio_blk virtio_console ext4 xe
if [ -e /mnt/in/cmdline ]; then
	loader=/mnt/in/image/guest/syslinux.cfg
	usual=$(grep APPEND "$loader")
	sed -i /APPEND/d "$loader"
	printf '%s %s\n' "$usual" "$(cat /mnt/in/cmdline)" >>"$loader"
fi
tree=/mnt/tmp/guest
tests=/usr/libexec/igt-gpu-tools
guest_skeleton "$tree"
install_modules "$tree" virtio_pci virtio_console virtio_blk virtio_net vfat pvpanic-pci evdev button
depmod -b "$tree" "$kv"
pack "$tree" /mnt/out/guest-initrd
cp "/usr/lib/modules/$kv/vmlinuz" /mnt/out/guest-vmlinuz

install_modules "$tree" xe
depmod -b "$tree" "$kv"
# vmtb reads the kernel's debug options from its configuration.
for config in "/usr/lib/modules/$kv/config" "/boot/config-$kv"; do
	[ ! -e "$config" ] || install -D -m 644 "$config" "$tree/usr/lib/modules/$kv/config"
done
install_program "$tree" /usr/bin/igt_runner /usr/lib/x86_64-linux-gnu/libgcc_s.so.1 # glibc loads it to end a thread
for name in xe_exec_basic xe_exec_store xe_exec_reset xe_exec_threads xe_spin_batch xe_ccs xe_compute_preempt benchmarks/gem_wsim; do
	install_program "$tree" "$tests/$name"
done
# igt_runner needs a list of all tests, even to run only one.
{
	echo TESTLIST
	(cd "$tree$tests" && ls -p | grep -v / | tr '\n' ' ')
	echo
	echo "END TESTLIST"
} >/mnt/tmp/test-list.txt
mv /mnt/tmp/test-list.txt "$tree$tests/test-list.txt"
install_igt "$tree"
install_program "$tree" /usr/bin/vim.tiny # flows leave an editor open
mv "$tree/usr/bin/vim.tiny" "$tree/usr/bin/vim"
guest_disk "$tree"

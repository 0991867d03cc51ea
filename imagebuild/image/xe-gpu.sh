# Builds the emulated GPU, a shared object, against the headers of the QEMU that loads it. /mnt/in
# has Debian's source of the root tree's QEMU.
. /mnt/in/image/lib.sh
mkdir /mnt/tmp/qemu
tar -C /mnt/tmp/qemu --strip-components=1 -xf /mnt/in/qemu_*.orig.tar.xz
installed=$(qemu-system-x86_64 --version | sed -n 's/^QEMU emulator version \([0-9.]*\).*/\1/p')
source=$(cat /mnt/tmp/qemu/VERSION)
if [ "$installed" != "$source" ]; then
	echo "The emulated GPU must be compiled against the QEMU that loads it: the lab's root has QEMU $installed, the source is $source."
	echo "Run 'vmtb lab clean' and build again: root and source then come from the same state of the mirror."
	exit 1
fi
sh /mnt/in/gpu/build.sh /mnt/tmp/qemu /mnt/out/vmtb-gpu.so

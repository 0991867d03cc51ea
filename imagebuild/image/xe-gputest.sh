# Builds the emulated GPU for its own tests (lab/gpu/qtest), against the same source as xe-gpu.sh:
# with QEMU's accelerator qtest, once plain and once with the address and undefined behaviour
# sanitizers.
. /mnt/in/image/lib.sh
mkdir /mnt/tmp/qemu
tar -C /mnt/tmp/qemu --strip-components=1 -xf /mnt/in/qemu_*.orig.tar.xz
QTEST=1 sh /mnt/in/gpu/build.sh /mnt/tmp/qemu /mnt/out/test.so
QTEST=1 CFLAGS_EXTRA="-fsanitize=address,undefined -fno-sanitize=alignment" \
	sh /mnt/in/gpu/build.sh /mnt/tmp/qemu /mnt/out/sanitized.so

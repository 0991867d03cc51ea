# Builds the stand-in modules against the lab's kernel. Warnings are errors.
. /mnt/in/image/lib.sh
cp -r /mnt/in/kmod /mnt/tmp/kmod
make -s -C "/usr/src/linux-headers-$kv" M=/mnt/tmp/kmod W=1 KCFLAGS=-Werror modules
find /mnt/tmp/kmod -name '*.ko' -exec cp {} /mnt/out/ \;
ls /mnt/out/xe.ko /mnt/out/xe-vfio-pci.ko

# Builds xe and xe-vfio-pci again with the patch /mnt/in/patch. The objects of xe-modules.sh are reused.
. /mnt/in/image/xe-source.sh
cd /mnt/tmp
tar -xf /mnt/in/xe-objects.tar
(cd linux && busybox patch -p1 </mnt/in/patch)
build_xe /mnt/tmp
tar -cf /mnt/out/modules.tar xe.ko xe-vfio-pci.ko

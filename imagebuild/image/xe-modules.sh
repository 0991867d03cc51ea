# Builds xe and xe-vfio-pci from Debian's source of the lab's kernel, unmodified: Debian does not
# set CONFIG_XE_VFIO_PCI, so its own xe lacks the functions that xe-vfio-pci needs.
. /mnt/in/image/lib.sh
cd /mnt/tmp
dpkg-deb --fsys-tarfile /mnt/in/linux-source-*.deb | tar -xf - --wildcards './usr/src/linux-source-*.tar.xz'
mkdir linux
tar -C linux --strip-components=1 --wildcards -xf usr/src/linux-source-*.tar.xz '*/drivers/gpu/drm/xe' '*/drivers/gpu/drm/i915' '*/drivers/vfio/pci/xe' '*/include/linux/vfio*'
# xe compiles parts of i915's display code and expects them in the kernel's own tree. So a copy of
# the common headers gets these parts and is mounted over the headers. The mount is in the stage's
# own namespace.
headers=/usr/src/linux-headers-$kv
common=$(sed -n 's/^include \(.*\)\/Makefile$/\1/p' "$headers/Makefile")
cp -a "$common" /mnt/tmp/common
mkdir -p /mnt/tmp/common/drivers/gpu/drm
mv linux/drivers/gpu/drm/i915 /mnt/tmp/common/drivers/gpu/drm/
ln -s /mnt/tmp/linux/drivers/gpu/drm/xe /mnt/tmp/common/drivers/gpu/drm/xe # include/trace includes xe's trace headers from this path
mount --bind /mnt/tmp/common "$common"
set -- CONFIG_XE_VFIO_PCI=m KCFLAGS=-DCONFIG_XE_VFIO_PCI_MODULE=1 -j"$(nproc)"
make -C "$headers" M=/mnt/tmp/linux/drivers/gpu/drm/xe "$@" modules
make -C "$headers" M=/mnt/tmp/linux/drivers/vfio/pci/xe KBUILD_EXTRA_SYMBOLS=/mnt/tmp/linux/drivers/gpu/drm/xe/Module.symvers "$@" modules
strip --strip-debug -o /mnt/out/xe.ko linux/drivers/gpu/drm/xe/xe.ko
strip --strip-debug -o /mnt/out/xe-vfio-pci.ko linux/drivers/vfio/pci/xe/xe-vfio-pci.ko

# Builds xe and xe-vfio-pci from Debian's source of the lab's kernel, unmodified: Debian does not
# set CONFIG_XE_VFIO_PCI, so its own xe lacks the functions that xe-vfio-pci needs.
. /mnt/in/image/xe-source.sh
cd /mnt/tmp
dpkg-deb --fsys-tarfile /mnt/in/linux-source-*.deb | tar -xf - --wildcards './usr/src/linux-source-*.tar.xz'
mkdir linux
tar -C linux --strip-components=1 --wildcards -xf usr/src/linux-source-*.tar.xz '*/drivers/gpu/drm/xe' '*/drivers/gpu/drm/i915' '*/drivers/vfio/pci/xe' '*/include/linux/vfio*'
build_xe /mnt/out
tar -cf /mnt/out/xe-objects.tar linux # with them, xe-patched.sh compiles only what a patch changes

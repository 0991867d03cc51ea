# Builds xe and xe-vfio-pci as xe-modules.sh does, for another kernel of Debian's archive than the root tree's. /mnt/in has the
# packages with its headers and its source. Mounts are in the stage's own namespace.
set -eu
unpacked=/mnt/tmp/headers
for deb in /mnt/in/linux-headers-*.deb /mnt/in/linux-kbuild-*.deb; do
	dpkg-deb -x "$deb" "$unpacked"
done
kernel=$(basename "$(echo "$unpacked"/usr/src/linux-headers-*-amd64)")
kernel=${kernel#linux-headers-}
# The headers have links to the programs of kbuild, which are not in the root tree.
find "$unpacked/usr/src" -maxdepth 2 -type l | while read -r link; do
	target=$(readlink "$link")
	case $target in
	*linux-kbuild-*) ln -sfn "$unpacked/usr/lib/linux-kbuild-${target#*linux-kbuild-}" "$link" ;;
	esac
done
mount --bind "$unpacked/usr/src" /usr/src
mkdir -p "/mnt/tmp/modules/$kernel"
mount --bind /mnt/tmp/modules /usr/lib/modules # xe-source.sh reads the kernel's release here
. /mnt/in/image/xe-modules.sh
rm /mnt/out/xe-objects.tar # patches are for the lab's own kernel

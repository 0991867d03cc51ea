# Packs a kernel of one side of the lab, as kernel.tar: the directory RELEASE with its image (vmlinuz), its modules and its
# configuration. /mnt/in has packages (*.deb), or vmlinuz and modules/RELEASE.
set -eu
unpacked=/mnt/tmp/unpacked
packed=/mnt/tmp/packed
mkdir -p "$unpacked" "$packed"
for deb in /mnt/in/*.deb; do
	[ ! -e "$deb" ] || dpkg-deb -x "$deb" "$unpacked"
done
for dir in /mnt/in/modules/* "$unpacked"/usr/lib/modules/* "$unpacked"/lib/modules/*; do
	[ ! -d "$dir" ] || cp -alT "$dir" "$packed/${dir##*/}"
done
kv=$(ls "$packed")
[ "$(echo "$kv" | wc -w)" = 1 ] || {
	echo "The package must have the modules of one kernel, it has: ${kv:-none}. Give linux-image-*.deb of 'make bindeb-pkg'."
	exit 1
}
top=$packed/$kv
for image in /mnt/in/vmlinuz "$unpacked/boot/vmlinuz-$kv" "$top/vmlinuz"; do
	[ ! -e "$image" ] || break
done
[ -e "$image" ] || { echo "The package has no kernel image boot/vmlinuz-$kv."; exit 1; }
[ "$image" = "$top/vmlinuz" ] || cp --remove-destination "$image" "$top/vmlinuz"
[ ! -e "$unpacked/boot/config-$kv" ] || cp "$unpacked/boot/config-$kv" "$top/config"
# Neither side of the lab has hardware for these drivers. xe needs parts of drivers/media.
rm -rf "$top/build" "$top/source" "$top/kernel/sound" "$top/kernel/drivers/media/"[!cr]* "$top/kernel/drivers/infiniband" \
	"$top/kernel/drivers/net/ethernet" "$top/kernel/drivers/net/wireless" "$top/kernel/drivers/gpu/drm/amd" \
	"$top/kernel/drivers/gpu/drm/nouveau" "$top/kernel/drivers/gpu/drm/radeon"
# The images' scripts know modules that xz has compressed, and plain ones.
find "$top" -name '*.ko.zst' -exec zstd -q -d --rm {} +
find "$top" -name '*.ko.gz' -exec gzip -d {} +
for file in modules.order modules.builtin modules.builtin.modinfo; do
	[ -e "$top/$file" ] || : >"$top/$file"
done
mkdir -p /mnt/tmp/base/lib
ln -s "$packed" /mnt/tmp/base/lib/modules
depmod -b /mnt/tmp/base "$kv"
tar -C "$packed" -cf /mnt/out/kernel.tar "$kv"
echo "$kv" >/mnt/out/kernel-release
[ -n "$(find "$top" -name 'xe-vfio-pci.ko*')" ] || grep -q '/xe-vfio-pci\.ko$' "$top/modules.builtin" || : >/mnt/out/kernel-without-vfio

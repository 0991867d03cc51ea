# Packs a kernel of one side of the lab, or of a guest, as kernel.tar: the directory RELEASE with its image (vmlinuz), its
# modules and its configuration. /mnt/in has packages (*.deb), or vmlinuz and modules/RELEASE. Outside of a root tree, work is
# the directory in place of /mnt, plain are modules that must not be compressed, and need those that must exist.
set -eu
work=${work:-/mnt}
unpacked=$work/tmp/unpacked
packed=$work/tmp/packed
mkdir -p "$unpacked" "$packed"
for deb in "$work"/in/*.deb; do
	[ ! -e "$deb" ] || dpkg-deb -x "$deb" "$unpacked"
done
for dir in "$work"/in/modules/* "$unpacked"/usr/lib/modules/* "$unpacked"/lib/modules/*; do
	[ ! -d "$dir" ] || cp -alT "$dir" "$packed/${dir##*/}"
done
kv=$(ls "$packed")
[ "$(echo "$kv" | wc -w)" = 1 ] || {
	echo "The package must have the modules of one kernel, it has: ${kv:-none}. Give linux-image-*.deb of 'make bindeb-pkg'."
	exit 1
}
top=$packed/$kv
for image in "$work/in/vmlinuz" "$unpacked/boot/vmlinuz-$kv" "$top/vmlinuz"; do
	[ ! -e "$image" ] || break
done
[ -e "$image" ] || { echo "The package has no kernel image boot/vmlinuz-$kv."; exit 1; }
[ "$image" = "$top/vmlinuz" ] || cp --remove-destination "$image" "$top/vmlinuz"
[ ! -e "$unpacked/boot/config-$kv" ] || cp "$unpacked/boot/config-$kv" "$top/config"
# Neither side of the lab has hardware for these drivers, nor has a guest. xe needs parts of drivers/media.
rm -rf "$top/build" "$top/source" "$top/kernel/sound" "$top/kernel/drivers/media/"[!cr]* "$top/kernel/drivers/infiniband" \
	"$top/kernel/drivers/net/ethernet" "$top/kernel/drivers/net/wireless" "$top/kernel/drivers/gpu/drm/amd" \
	"$top/kernel/drivers/gpu/drm/nouveau" "$top/kernel/drivers/gpu/drm/radeon"
# The images' scripts know modules that xz has compressed, and plain ones.
find "$top" -name '*.ko.zst' -exec zstd -q -d --rm {} +
find "$top" -name '*.ko.gz' -exec gzip -df {} +
for file in modules.order modules.builtin modules.builtin.modinfo; do
	[ -e "$top/$file" ] || : >"$top/$file"
done
base=$work/tmp/base
mkdir -p "$base/lib"
ln -s "$packed" "$base/lib/modules"
depmod -b "$base" "$kv"
lacks=
for name in ${need:-}; do
	modprobe -d "$base" -S "$kv" --show-depends "$name" >/dev/null 2>&1 || lacks="$lacks $name"
done
[ -z "$lacks" ] || { echo "Linux $kv lacks modules that a guest needs:$lacks."; exit 1; }
for name in ${plain:-}; do
	modprobe -d "$base" -S "$kv" --show-depends "$name" 2>/dev/null || true
done | sed -n 's/^insmod \(.*\.ko\.xz\) *$/\1/p' | sort -u | xargs -r xz -df # the files are hard links
[ -z "${plain:-}" ] || depmod -b "$base" "$kv"
tar -C "$packed" -cf "$work/out/kernel.tar" "$kv"
echo "$kv" >"$work/out/kernel-release"
[ -n "$(find "$top" -name 'xe-vfio-pci.ko*')" ] || grep -q '/xe-vfio-pci\.ko$' "$top/modules.builtin" || : >"$work/out/kernel-without-vfio"

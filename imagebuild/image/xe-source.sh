# Functions of the scripts that build xe and xe-vfio-pci from source, in /mnt/tmp/linux. These scripts
# do not read lib.sh: a change in it would compile xe again.
set -eu
kv=$(ls /lib/modules)

# use_headers: prepares the kernel's headers. xe compiles parts of i915's display code and expects
# them in the kernel's own tree. So a copy of the common headers gets these parts and is mounted over
# the headers. The mount is in the stage's own namespace.
use_headers() {
	headers=/usr/src/linux-headers-$kv
	common=$(sed -n 's/^include \(.*\)\/Makefile$/\1/p' "$headers/Makefile")
	cp -a "$common" /mnt/tmp/common
	mkdir -p /mnt/tmp/common/drivers/gpu/drm
	ln -s /mnt/tmp/linux/drivers/gpu/drm/i915 /mnt/tmp/linux/drivers/gpu/drm/xe /mnt/tmp/common/drivers/gpu/drm/ # include/trace includes xe's trace headers from this path
	mount --bind /mnt/tmp/common "$common"
}

# build_xe DIRECTORY: builds xe.ko and xe-vfio-pci.ko in a directory, without debug information.
build_xe() {
	use_headers
	xe=/mnt/tmp/linux/drivers/gpu/drm/xe vfio=/mnt/tmp/linux/drivers/vfio/pci/xe
	out=$1
	set -- -C "$headers" -j"$(nproc)" CONFIG_XE_VFIO_PCI=m KCFLAGS='-DCONFIG_XE_VFIO_PCI_MODULE=1 -g0' \
		CONFIG_DEBUG_INFO_BTF_MODULES= modules
	make M=$xe "$@"
	make M=$vfio KBUILD_EXTRA_SYMBOLS=$xe/Module.symvers "$@"
	cp $xe/xe.ko $vfio/xe-vfio-pci.ko "$out"
}

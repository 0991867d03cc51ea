# Puts the kernel of an image in the place of the root tree's, if it is another one: kernel.tar of kernel.sh. modules.tar has
# modules that replace those of the kernel. Mounts of a stage are in a namespace of its own, and the root tree does not change.
# Comes after lib.sh, and sets its kv.
if [ -e /mnt/in/kernel.tar ]; then
	mkdir /mnt/tmp/modules
	tar -C /mnt/tmp/modules -xf /mnt/in/kernel.tar
	mount --bind /mnt/tmp/modules /usr/lib/modules
elif [ -e /mnt/in/modules.tar ]; then
	cp -a /usr/lib/modules /mnt/tmp/modules
	mount --bind /mnt/tmp/modules /usr/lib/modules
fi
kv=$(ls /lib/modules)
if [ -e /mnt/in/modules.tar ]; then
	mkdir -p "/usr/lib/modules/$kv/updates"
	tar -C "/usr/lib/modules/$kv/updates" -xf /mnt/in/modules.tar
	depmod "$kv"
fi

# need_modules NAME...: the kernel must have these, built in or as modules.
need_modules() {
	lacks=
	for name in "$@"; do
		modprobe -S "$kv" --show-depends "$name" >/dev/null 2>&1 || lacks="$lacks $name"
	done
	[ -z "$lacks" ] || {
		echo "Linux $kv lacks modules that the lab needs:$lacks. 'vmtb help kernels' lists the options of the kernel's configuration."
		exit 1
	}
}

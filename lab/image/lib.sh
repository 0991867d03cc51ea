# Shared by the build scripts, which all run inside the lab's root tree with the work directory on /mnt:
# /mnt/in (our files), /mnt/out (what is to be kept), /mnt/tmp.
set -eu
kv=$(ls /lib/modules)

# install_modules TREE NAME...: copies kernel modules with all they depend on, uncompressed, and our own ones, which
# win because they stand in updates/.
install_modules() {
	tree=$1
	shift
	moddir=$tree/usr/lib/modules/$kv
	mkdir -p "$moddir/updates"
	for name in "$@"; do
		modprobe -S "$kv" --show-depends "$name" | awk '$1 == "insmod" {print $2}'
	done | sort -u | while read -r file; do
		mkdir -p "$tree/usr/$(dirname "${file#/}")"
		cp "$file" "$tree/usr/${file#/}"
	done
	find "$moddir" -name '*.ko.xz' -exec xz -d {} +
	cp /lib/modules/"$kv"/modules.builtin /lib/modules/"$kv"/modules.builtin.modinfo /lib/modules/"$kv"/modules.order "$moddir/"
}

# install_program TREE PROGRAM...: copies programs with their shared libraries.
install_program() {
	tree=$1
	shift
	for program in "$@"; do
		{
			echo "$program"
			ldd "$program" 2>/dev/null | grep -o '/[^ ]*'
		} | while read -r file; do
			mkdir -p "$tree/usr/$(dirname "${file#/usr}")"
			cp -L "$file" "$tree/usr/${file#/usr}"
		done
	done
}

# skeleton TREE: the directories of a Debian system with merged /usr, and busybox for everything else.
skeleton() {
	mkdir -p "$1/usr/bin" "$1/usr/sbin" "$1/usr/lib/x86_64-linux-gnu" "$1/usr/lib64" "$1/dev" "$1/proc" "$1/sys" \
		"$1/run" "$1/tmp" "$1/root" "$1/mnt" "$1/etc" "$1/var"
	for dir in bin sbin lib lib64; do
		ln -s "usr/$dir" "$1/$dir"
	done
	ln -s ../run "$1/var/run"
	cp /usr/bin/busybox "$1/usr/bin/busybox"
	for applet in $(busybox --list); do
		[ -e "$1/usr/bin/$applet" ] || ln -s busybox "$1/usr/bin/$applet"
	done
	ln -s ../bin/busybox "$1/usr/sbin/modprobe" # where the kernel looks for it
}

# pack TREE FILE: an initramfs.
pack() {
	(cd "$1" && find . | cpio --quiet -o -H newc -R 0:0 | zstd -q -10 -T0) >"$2"
}

# install_workloads TREE: the stand-in workloads under the names of IGT's programs, and IGT where upstream's
# configuration, and so vmtb's default, looks for it.
install_workloads() {
	tests=$1/usr/libexec/igt-gpu-tools
	mkdir -p "$tests/benchmarks" "$1/usr/local/libexec" "$1/usr/local/bin"
	install -m 755 /mnt/in/standin "$tests/standin"
	for name in $("$tests/standin" --names); do
		rm -f "$tests/$name"
		ln -s /usr/libexec/igt-gpu-tools/standin "$tests/$name"
	done
	# igt_runner wants to know all tests there are, whatever it is asked to run.
	[ -e "$tests/test-list.txt" ] || {
		echo TESTLIST
		"$tests/standin" --names | grep -v / | tr '\n' ' '
		echo
		echo "END TESTLIST"
	} >"$tests/test-list.txt"
	ln -s /usr/libexec/igt-gpu-tools "$1/usr/local/libexec/igt-gpu-tools"
	ln -s /usr/bin/igt_runner "$1/usr/local/bin/igt_runner"
}

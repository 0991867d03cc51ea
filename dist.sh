#!/bin/sh
# Makes the packages: dist.sh install ROOT PREFIX ARCH | tar ARCH | deb ARCH. "make dist", "make
# deb" and "make install" call it. "dist.sh size FILE" checks the size of a binary. The same commit
# gives the same bytes: all times are the commit's time, names are sorted, and all owners are root.
set -eu
cd "$(dirname "$0")"
umask 022
version=$(git describe --always --dirty --tags 2>/dev/null || echo unknown)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH

# build ARCH FILE: builds the static binary.
build() {
	CGO_ENABLED=0 GOOS=linux GOARCH=$1 go build -trimpath -ldflags "-s -w -X vmtb.version=$version" -o "$2" ./cmd/vmtb
	./dist.sh size "$2"
}

# tree DIR ARCH: makes a directory with all files of vmtb. vmtb runs from it, wherever the directory
# is.
tree() {
	mkdir -p "$1/completions" "$1/vmm_flows" "$1/docs/pictures"
	build "$2" "$1/vmtb"
	native=$1/vmtb
	[ "$2" = "$(go env GOHOSTARCH)" ] || {
		native=$(mktemp)
		build "$(go env GOHOSTARCH)" "$native"
	}
	for shell in bash zsh fish; do
		"$native" completion "$shell" >"$1/completions/vmtb.$shell"
	done
	"$native" man "$1/man"
	gzip -9nf "$1"/man/*.1
	[ "$native" = "$1/vmtb" ] || rm "$native"
	cp examples/vmtb_config.json README.md LICENSE "$1/"
	cp -r vmm_flows/resources "$1/vmm_flows/"
	find "$1/vmm_flows/resources" -name '*.go' -delete
	mkdir -p "$1/vmm_flows/resources/vgpu_profiles"
	cp bench/xe/vgpu/profiles/*.json "$1/vmm_flows/resources/vgpu_profiles/"
	cp -r docs/*.md docs/decisions "$1/docs/"
	cp docs/pictures/*.png "$1/docs/pictures/"
	find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

# install_tree ROOT PREFIX ARCH: makes the tree in the directory in which IGT's build installs the
# Python tool. It installs the command, completions and man pages in the usual directories of
# PREFIX.
install_tree() {
	to=$1$2
	home=$to/libexec/igt-gpu-tools/vmtb
	tree "$home" "$3"
	mkdir -p "$to/bin" "$to/share/man/man1" "$to/share/bash-completion/completions" "$to/share/zsh/site-functions" "$to/share/fish/vendor_completions.d"
	ln -sfn ../libexec/igt-gpu-tools/vmtb/vmtb "$to/bin/vmtb"
	cp -p "$home"/man/*.1.gz "$to/share/man/man1/"
	cp -p "$home/completions/vmtb.bash" "$to/share/bash-completion/completions/vmtb"
	cp -p "$home/completions/vmtb.zsh" "$to/share/zsh/site-functions/_vmtb"
	cp -p "$home/completions/vmtb.fish" "$to/share/fish/vendor_completions.d/vmtb.fish"
}

# The greatest size of the binary in bytes. Users copy the binary to machines under test, some
# behind slow links, so it must not grow unnoticed.
largest=15000000

case $1 in
size)
	size=$(wc -c <"$2")
	[ "$size" -lt $largest ] || {
		echo "$2 has $size bytes, and must have less than $largest: go tool nm -size -sort size, on a binary that is not stripped, says what weighs" >&2
		exit 1
	}
	;;
install)
	install_tree "$2" "$3" "$4"
	;;
tar)
	name=vmtb-$version-$2
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	tree "$work/$name" "$2"
	mkdir -p dist
	tar -C "$work" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -cf - "$name" | gzip -9n >"dist/$name.tar.gz"
	echo "dist/$name.tar.gz"
	;;
deb)
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	chmod 755 "$work"
	install_tree "$work" /usr "$2"
	mkdir -p "$work/DEBIAN" "$work/usr/share/doc/vmtb" "$work/usr/share/zsh/vendor-completions"
	mv "$home/docs" "$home/README.md" "$work/usr/share/doc/vmtb/"
	mv "$home/LICENSE" "$work/usr/share/doc/vmtb/copyright"
	mv "$work/usr/share/zsh/site-functions/_vmtb" "$work/usr/share/zsh/vendor-completions/_vmtb" # the directory of Debian's zsh
	rm -r "$home/completions" "$home/man" "$work/usr/share/zsh/site-functions"
	debversion=0.$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d)+git.$(echo "$version" | tr -- - .)
	cat >"$work/DEBIAN/control" <<EOF
Package: vmtb
Version: $debversion
Architecture: $2
Section: utils
Priority: optional
Maintainer: The vmtb authors <vmtb@localhost>
Depends: qemu-system-x86 (>= 1:8.2), qemu-utils (>= 1:8.2), kmod
Installed-Size: $(du -sk "$work/usr" | cut -f1)
Description: VM test bench for SR-IOV GPUs
 Enables Virtual Functions of a GPU driven by the xe driver, boots QEMU/KVM
 machines with them, runs functional tests (VMM Flows) over host and guests,
 restores the host, and reports.
EOF
	find "$work" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	mkdir -p dist
	dpkg-deb --root-owner-group -Zxz --build "$work" "dist/vmtb_${debversion}_$2.deb" >/dev/null
	echo "dist/vmtb_${debversion}_$2.deb"
	;;
*)
	echo "usage: dist.sh install ROOT PREFIX ARCH | tar ARCH | deb ARCH | size FILE" >&2
	exit 2
	;;
esac

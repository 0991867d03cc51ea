#!/bin/sh
# Installs the packages that vmtb's build, tests and lab need. It calls apt-get, as root, on Debian
# 12, Debian 13 and Ubuntu 24.04. On another system, or without root, it lists the missing packages.
# If none is missing it changes nothing.
set -eu

missing="" # packages
reasons="" # one line for each package

have() { command -v "$1" >/dev/null 2>&1; }

# need PACKAGE REASON COMMAND...: the package is missing unless the command succeeds.
need() {
	package=$1 reason=$2
	shift 2
	if ! "$@" >/dev/null 2>&1; then
		missing="$missing $package"
		reasons="$reasons  $package: $reason
"
	fi
}

# QEMU 8.1 is the first with all features that vmtb uses: it saves and restores VFs.
new_qemu() {
	version=$(qemu-system-x86_64 --version | sed -n 's/^QEMU emulator version \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
	# shellcheck disable=SC2086 # two words, or none without QEMU
	set -- $version 0 0
	[ "$1" -gt 8 ] || { [ "$1" -eq 8 ] && [ "$2" -ge 1 ]; }
}

look() {
	missing="" reasons=""
	need qemu-system-x86 "QEMU 8.1 or newer, boots guests" new_qemu
	need qemu-utils "qemu-img makes overlays" have qemu-img
	need qemu-guest-agent "the integration tests talk to the real agent" test -x /usr/sbin/qemu-ga
	need mmdebstrap "makes the lab's root file system" have mmdebstrap
	need debian-archive-keyring "keys of Debian 13, which the lab is made of" test -e /usr/share/keyrings/debian-archive-trixie-stable.gpg
	need kmod "depmod and modprobe list the modules of kernels" have depmod
	need xz-utils "unpacks modules of kernels" have xz
	need util-linux "unshare keeps the lab's builds apart from the machine" have unshare
	need gcc "go test -race needs cgo" have gcc
	need libc6-dev "go test -race needs cgo" test -e /usr/include/stdlib.h
	need git "the build asks it for the version" have git
}

go_missing() {
	if ! have go; then
		echo "setup: Go is missing; install Go 1.26 or newer and put it into PATH" >&2
		exit 1
	fi
	case $(go env GOVERSION) in
	go1.[0-9] | go1.[0-9].* | go1.1[0-9]* | go1.2[0-5]*)
		echo "setup: $(go version) is too old; vmtb needs Go 1.26" >&2
		exit 1
		;;
	esac
}

# mirror CODENAME: prints the address of Debian's main archive from the machine's own package
# sources.
mirror() {
	apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
		awk -v codename="$1" '$1 == "Debian" && $2 == codename {print $3; exit}'
}

# Debian 12 has QEMU 7.2; bookworm-backports has 10.0.
enable_backports() {
	apt-get indextargets --format '$(CODENAME)' 'Created-By: Packages' | grep -qx bookworm-backports && return
	uri=$(mirror bookworm)
	if [ -z "$uri" ]; then
		echo "setup: the package sources of this machine have no Debian 12 main archive to take bookworm-backports from" >&2
		exit 1
	fi
	echo "setup: adding bookworm-backports to the package sources (/etc/apt/sources.list.d/vmtb-backports.sources)"
	printf 'Types: deb\nURIs: %s\nSuites: bookworm-backports\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
		"$uri" >/etc/apt/sources.list.d/vmtb-backports.sources
}

go_missing
look
[ -n "$missing" ] || exit 0

ID="" VERSION_ID=""
[ ! -r /etc/os-release ] || . /etc/os-release
case "$ID $VERSION_ID" in
"debian 12" | "debian 13" | "ubuntu 24.04") ;;
*)
	printf 'setup: missing here, under the names of their Debian packages:\n%ssetup: install them and try again (this script does it itself on Debian 12, Debian 13 and Ubuntu 24.04 only)\n' "$reasons" >&2
	exit 1
	;;
esac
if [ "$(id -u)" != 0 ]; then
	printf 'setup: missing here:\n%ssetup: run this as root (it calls apt-get), or install them yourself\n' "$reasons" >&2
	exit 1
fi

export DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes
echo "setup: installing$missing"
start=$(date +%s)
apt-get -qq update
release=""
if [ "$ID $VERSION_ID" = "debian 12" ]; then
	enable_backports
	apt-get -qq update
	release="-t bookworm-backports"
fi
for package in $missing; do
	case $package in
	qemu-*) from=$release ;;
	*) from="" ;;
	esac
	# shellcheck disable=SC2086 # an option of two words, or none
	apt-get -qq -y --no-install-recommends $from install "$package" >/dev/null
done
look
if [ -n "$missing" ]; then
	printf 'setup: still missing after the installation:\n%s' "$reasons" >&2
	exit 1
fi
echo "setup: done after $(($(date +%s) - start)) s"

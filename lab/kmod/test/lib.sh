# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
# Helpers of exercise.sh: one line for each thing that was checked, names of errors, loading the module.

PASSED=0
FAILED=0

ok() { PASSED=$((PASSED + 1)); echo "ok - $1"; }
not_ok() { FAILED=$((FAILED + 1)); echo "not ok - $1"; echo "#   expected: $2"; echo "#   saw:      $3"; }

# same WHAT EXPECTED SEEN
same() { if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "$2" "$3"; fi; }

# put VALUE FILE: prints OK or the error's name as bash words it
put() {
	local err
	if err=$( { printf '%s\n' "$1" >"$2"; } 2>&1); then echo OK; else echo "${err##*: }"; fi
}
get() { local err; if err=$(cat "$1" 2>&1); then echo "$err"; else echo "${err##*: }"; fi; }

# puts EXPECTED VALUE FILE: write and compare the outcome
puts() { same "write '$2' to ${3#"$SYS"/}" "$1" "$(put "$2" "$3")"; }
# reads EXPECTED FILE
reads() { same "read ${2#"$SYS"/}" "$1" "$(get "$2")"; }
# becomes EXPECTED FILE: what the stand-in brings up to date ten times a second
becomes() {
	local i
	for i in $(seq 50); do [ "$(get "$2")" = "$1" ] && break; sleep 0.1; done
	reads "$1" "$2"
}

ENOSPC="No space left on device"
ENOPKG="Package not installed"

SYS=/sys
load() {
	modprobe xe "$@" || return 1
	P=
	local link
	for link in /sys/bus/pci/drivers/xe/*:*; do
		[ -e "$link/sriov_totalvfs" ] && P=$(readlink -f "$link")
	done
	[ -n "$P" ] || return 1
	D=/sys/kernel/debug/dri/${P##*/}
	S=$D/sriov
}
unload() { rmmod xe_vfio_pci 2>/dev/null; rmmod xe; }
numvfs() { put "$1" "$P/sriov_numvfs"; }
param() { echo "$2" >"/sys/module/xe/parameters/$1"; }

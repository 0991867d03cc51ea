#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Exercises the stand-ins on a machine under test (as root, debugfs mounted, nothing else using the device):
#
#	exercise.sh [group...]		groups: load params faults vf loops
#
# It is for what modules and their parameters do. That they keep the rules of the real drivers is checked by the flow
# xe_contract.
#
# Prints "ok - what" or "not ok - what" with what was expected and seen; ends with the counts, exit status 1 after any "not ok".

. "$(dirname "$0")/lib.sh"

t_load() {
	local i bad=0
	for i in 1 2 3 4 5; do load && unload || bad=1; done
	same "insmod and rmmod five times" 0 $bad
	load
	put 0 "$P/sriov_drivers_autoprobe" >/dev/null
	same "VFs while the module is unloaded" OK "$(numvfs 2)"
	unload
	load
	reads 0 "$P/sriov_numvfs"
	unload
}

t_params() {
	load device=ptl gts=1 max_vfs=4
	reads 0xb080 "$P/device"
	reads 4 "$P/sriov_totalvfs"
	reads $'total: 7\nsupported: 4\nenabled: 0' "$S/pf/vfs"
	same "no VRAM" "" "$(find "$D/" -name '*vram*' -o -name '*lmem*')"
	same "no second GT" no "$([ -e "$D/gt1" ] && echo yes || echo no)"
	unload

	load max_vfs=0
	reads 0 "$P/sriov_totalvfs"
	reads $'supported: yes\nenabled: no\nmode: none' "$D/sriov_info"
	same "native: no sriov_admin" no "$([ -e "$P/sriov_admin" ] && echo yes || echo no)"
	unload

	load migration=0
	reads "$ENOPKG" "$S/vf1/migration_size"
	unload

	load vram_quota=1
	put 0 "$P/sriov_drivers_autoprobe" >/dev/null
	puts OK 3000000 "$P/sriov_admin/vf1/profile/vram_quota"
	reads 4194304 "$P/sriov_admin/vf1/profile/vram_quota"
	same "preset VRAM, numvfs 2" OK "$(numvfs 2)"
	reads $'VF1:\t4194304\t(4.00 MiB)' "$S/pf/tile0/vram_provisioned"
	reads 1073741824 "$S/vf2/tile0/ggtt_quota"
	numvfs 0 >/dev/null
	reads 0 "$P/sriov_admin/vf1/profile/vram_quota"
	numvfs 2 >/dev/null
	reads 2147483648 "$P/sriov_admin/vf2/profile/vram_quota"
	numvfs 0 >/dev/null
	unload
}

t_faults() {
	load
	put 0 "$P/sriov_drivers_autoprobe" >/dev/null
	param fail_provision 3
	same "third allocation fails" "$ENOSPC" "$(numvfs 2)"
	reads 0 "$P/sriov_numvfs"
	reads "" "$S/pf/tile0/ggtt_provisioned"
	same "and only once" OK "$(numvfs 2)"
	numvfs 0 >/dev/null
	param refuse_numvfs 12
	same "numvfs refused" "Cannot allocate memory" "$(numvfs 2)"
	param refuse_numvfs 0
	reads 0 "$S/vf1/tile0/ggtt_quota"
	param fault_log err
	numvfs 1 >/dev/null
	same "error logged" 1 "$(dmesg -c | grep -c 'fault injected: an error')"
	param fault_log ""
	numvfs 0 >/dev/null
	unload
	same "refuses to load" 1 "$(modprobe xe refuse_load=1 2>/dev/null; echo $?)"
	same "unknown device" 1 "$(modprobe xe device=dg9 2>/dev/null; echo $?)"
	dmesg -c >/dev/null
}

# What a VF sees of GPU time, and VFs with drivers when the PF or their driver goes, with the VFs bound to xe on the host.
t_vf() {
	load
	put 1 "$P/sriov_drivers_autoprobe" >/dev/null
	numvfs 2 >/dev/null
	local vf1 vf2 bdf
	bdf=$(basename "$(readlink "$P/virtfn0")")
	vf1=/sys/kernel/debug/dri/$bdf
	vf2=/sys/kernel/debug/dri/$(basename "$(readlink "$P/virtfn1")")
	reads 1000000 "$vf1/standin/gpu_time"
	exec 7<"$vf1/standin/gpu_time" 8<"$vf2/standin/gpu_time"
	becomes 500000 "$vf1/standin/gpu_time"
	put 30 "$P/sriov_admin/vf1/profile/exec_quantum_ms" >/dev/null
	put 10 "$P/sriov_admin/vf2/profile/exec_quantum_ms" >/dev/null
	becomes 750000 "$vf1/standin/gpu_time"
	put 1 "$S/vf1/pause" >/dev/null
	becomes 1000000 "$vf2/standin/gpu_time"
	put 1 "$S/vf1/resume" >/dev/null

	puts OK 100 "$S/vf1/tile0/gt0/contexts_quota"
	same "VF unbound while it works" OK "$(put "$bdf" /sys/bus/pci/drivers/xe/unbind)"
	exec 7<&- 8<&-
	same "reset of the PF" OK "$(put 1 "$P/reset")"
	same "VF bound again" OK "$(put "$bdf" /sys/bus/pci/drivers/xe/bind)"
	same "VF after reset of the PF" "GuC contexts:	100" "$(grep contexts "$vf1/gt0/vf/self_config")"
	same "PF unbound with VFs enabled" OK "$(put "${P##*/}" /sys/bus/pci/drivers/xe/unbind)"
	same "PF bound again" OK "$(put "${P##*/}" /sys/bus/pci/drivers/xe/bind)"
	unload
}

# VFs come and go with drivers bound; then nothing may be left over.
t_loops() {
	local i bad=0 vf
	for i in 1 2 3; do
		load || bad=1
		modprobe xe-vfio-pci || bad=1
		put 0 "$P/sriov_drivers_autoprobe" >/dev/null
		[ "$(numvfs 7)" = OK ] || bad=1
		for vf in "$P"/virtfn*; do
			echo xe-vfio-pci >"$vf/driver_override"
			basename "$(readlink "$vf")" >/sys/bus/pci/drivers_probe
			[ "$(basename "$(readlink "$vf/driver")")" = xe-vfio-pci ] || bad=1
		done
		[ "$i" = 2 ] || [ "$(numvfs 0)" = OK ] || bad=1
		put 1 "$P/sriov_drivers_autoprobe" >/dev/null
		[ "$i" != 3 ] || [ "$(numvfs 7)" = OK ] || bad=1
		rmmod xe_vfio_pci || bad=1
		rmmod xe || bad=1
	done
	same "VFs bound to xe-vfio-pci and xe, three rounds" 0 $bad

	load
	put 0 "$P/sriov_drivers_autoprobe" >/dev/null
	put 1 "$S/vf1/tile0/gt0/contexts_quota" >/dev/null
	same "numvfs 1 without resources" OK "$(numvfs 1)"
	put 1 "$P/sriov_drivers_autoprobe" >/dev/null
	put "$(basename "$(readlink "$P/virtfn0")")" /sys/bus/pci/drivers_probe >/dev/null
	same "VF without resources has no driver" no "$([ -e "$P/virtfn0/driver" ] && echo yes || echo no)"
	unload
}

dmesg -c >/dev/null
for group in ${*:-load params faults vf loops}; do
	echo "# $group"
	"t_$group"
done
same "kernel log without warnings" "" "$(dmesg | grep -E 'WARNING|BUG|Oops|Call Trace|refcount|leak|sysfs: cannot' | head -3)"
echo "# $PASSED ok, $FAILED not ok"
[ "$FAILED" = 0 ]

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Exercises the stand-ins on a machine under test (as root, debugfs mounted, nothing else using the device):
#
#	exercise.sh [group...]		groups: load rules auto quota errno modes admin control migrate vf legacy ptl faults loops
#
# Prints "ok - what" or "not ok - what" with what was expected and seen; ends with the counts, exit status 1 after any "not ok".

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/vf.sh"

t_load() {
	local i bad=0
	for i in 1 2 3 4 5; do load && unload || bad=1; done
	same "insmod and rmmod five times" 0 $bad
	load
	reads 0xe20b "$P/device"
	reads e20b "$P/sriov_vf_device"
	reads 7 "$P/sriov_totalvfs"
	reads "xe dev=${P##*/} unique=${P##*/}" "$D/name"
	reads $'supported: yes\nenabled: yes\nmode: SR-IOV PF' "$D/sriov_info"
	same "card in drm/" 1 "$(ls "$P/drm" | grep -c card)"
	same "GTs in tile0/" "gt0 gt1" "$(echo "$P"/tile0/gt* | sed "s,$P/tile0/,,g")"
	same "link gt0" tile0/gt0 "$(readlink "$D/gt0")"
	same "link pf of a GT" ../../sriov/pf/tile0/gt1 "$(readlink "$D/gt1/pf")"
	same "link lmem_quota" ../vram_quota "$(readlink "$S/vf1/tile0/gt0/lmem_quota")"
	same "no GGTT on media GT" "" "$(find "$S/pf/tile0/gt1" "$S/vf1/tile0/gt1" -name '*gtt*')"
	unload
}

t_rules() {
	load
	same "autoprobe off" OK "$(put 0 "$P/sriov_drivers_autoprobe")"
	same "numvfs garbage" "$EINVAL" "$(numvfs x)"
	same "numvfs 8 of 7" "$ERANGE" "$(numvfs 8)"
	same "numvfs 0 at 0" OK "$(numvfs 0)"
	same "numvfs 3" OK "$(numvfs 3)"
	reads 3 "$P/sriov_numvfs"
	same "numvfs 3 at 3" OK "$(numvfs 3)"
	same "numvfs 2 at 3" "$EBUSY" "$(numvfs 2)"
	reads 0xe20b "$P/virtfn0/device"
	same "VF without driver" no "$([ -e "$P/virtfn0/driver" ] && echo yes || echo no)"
	same "link to VF3" "$(readlink -f "$P/virtfn2")" "$(readlink -f "$P/sriov_admin/vf3/device")"
	same "no link to VF4" no "$([ -e "$P/sriov_admin/vf4/device" ] && echo yes || echo no)"
	reads $'total: 7\nsupported: 7\nenabled: 3' "$S/pf/vfs"
	same "numvfs 0" OK "$(numvfs 0)"
	same "no links to VFs" 0 "$(ls -d "$P"/sriov_admin/vf*/device 2>/dev/null | wc -l)"
	same "autoprobe on" OK "$(put 1 "$P/sriov_drivers_autoprobe")"
	same "numvfs 2, VFs on the host" OK "$(numvfs 2)"
	local vf=/sys/kernel/debug/dri/$(basename "$(readlink "$P/virtfn1")")
	reads $'GGTT range:\t0x7ee00000-0xbedfffff\nGGTT size:\t1073741824 (1.00 GiB)\nLMEM size:\t6358564864 (5.92 GiB)\nGuC contexts:\t16384\nGuC doorbells:\t64' "$vf/gt0/vf/self_config"
	reads $'GuC contexts:\t16384\nGuC doorbells:\t64' "$vf/gt1/vf/self_config"
	reads $'base:\t1.0\nlatest:\t1.0\nVF1:\t1.0\nVF2:\t1.0' "$S/pf/versions"
	same "PF unbound with VFs enabled" OK "$(put "${P##*/}" /sys/bus/pci/drivers/xe/unbind)"
	reads 0 "$P/sriov_numvfs"
	same "PF bound again" OK "$(put "${P##*/}" /sys/bus/pci/drivers/xe/bind)"
	unload
}

t_auto() {
	load
	put 0 "$P/sriov_drivers_autoprobe" >/dev/null
	local n ggtt ctx db lmem
	while read -r n ggtt ctx db lmem; do
		same "numvfs $n" OK "$(numvfs "$n")"
		same "fair shares of $n VFs" "$ggtt $ctx $ctx $db $db $lmem" \
			"$(cd "$S/vf$n/tile0" && echo $(cat ggtt_quota gt0/contexts_quota gt1/contexts_quota gt0/doorbells_quota gt1/doorbells_quota vram_quota))"
		same "numvfs 0" OK "$(numvfs 0)"
		same "all released after $n VFs" "0 0 0 0" \
			"$(cd "$S/vf1/tile0" && echo $(cat ggtt_quota gt0/contexts_quota gt1/doorbells_quota vram_quota))"
	done <<-EOF
	1 2147483648 32768 128 12717129728
	2 1073741824 16384 64 6358564864
	3 1073741824 16384 64 4238344192
	4 536870912 8192 32 3179282432
	7 536870912 8192 32 1816133632
	EOF
	numvfs 2 >/dev/null
	reads $'VF1:\t0xbee00000-0xfedfffff\t(1.00 GiB)\nVF2:\t0x7ee00000-0xbedfffff\t(1.00 GiB)' "$S/pf/tile0/ggtt_provisioned"
	reads $'VF1:\t6358564864\t(5.92 GiB)\nVF2:\t6358564864\t(5.92 GiB)' "$S/pf/tile0/vram_provisioned"
	reads $'VF1:\t49151-65534\t(16384)\nVF2:\t32767-49150\t(16384)' "$S/pf/tile0/gt1/contexts_provisioned"
	reads $'VF1:\t0-63\t(64)\nVF2:\t64-127\t(64)' "$S/pf/tile0/gt0/doorbells_provisioned"
	reads $'range:\t0x400000-0x7edfffff\t(1.98 GiB)\ntotal:\t2124414976\t(1.98 GiB)\nspare:\t67108864\t(64.0 MiB)\navail:\t2057306112\t(1.92 GiB)' "$S/pf/tile0/ggtt_available"
	numvfs 0 >/dev/null
	reads "" "$S/pf/tile0/ggtt_provisioned"
	same "registers" 13 "$(grep -c '^reg\[0x' "$S/pf/tile0/gt0/runtime_registers")"
	reads "" "$S/pf/tile0/gt0/adverse_events"
	unload
}

t_quota() {
	load
	put 0 "$P/sriov_drivers_autoprobe" >/dev/null
	local vf gt
	for vf in 1 2; do
		puts OK 2013265920 "$S/vf$vf/tile0/ggtt_quota"
		puts OK 6341787648 "$S/vf$vf/tile0/vram_quota"
		for gt in 0 1; do
			puts OK 1024 "$S/vf$vf/tile0/gt$gt/contexts_quota"
			puts OK 120 "$S/vf$vf/tile0/gt$gt/doorbells_quota"
		done
	done
	reads $'VF1:\t0x86e00000-0xfedfffff\t(1.88 GiB)\nVF2:\t0xee00000-0x86dfffff\t(1.88 GiB)' "$D/gt0/pf/ggtt_provisioned"
	reads $'VF1:\t64511-65534\t(1024)\nVF2:\t63487-64510\t(1024)' "$D/gt1/pf/contexts_provisioned"
	reads $'VF1:\t0-119\t(120)\nVF2:\t120-239\t(120)' "$D/gt0/pf/doorbells_provisioned"
	same "manual numvfs 2" OK "$(numvfs 2)"
	same "restore while enabled" "$EBUSY" "$(put 1 "$S/restore_auto_provisioning")"
	puts OK 0 "$S/restore_auto_provisioning"
	same "numvfs 0" OK "$(numvfs 0)"
	reads 2013265920 "$S/vf1/tile0/ggtt_quota"
	puts OK 1 "$S/restore_auto_provisioning"
	reads 0 "$S/vf1/tile0/ggtt_quota"
	puts OK 4097 "$S/vf1/tile0/ggtt_quota"
	reads 8192 "$S/vf1/tile0/ggtt_quota"
	puts OK 1 "$S/vf1/tile0/vram_quota"
	reads 2097152 "$S/vf1/tile0/vram_quota"
	puts "$ENOSPC" 5000000000 "$S/vf1/tile0/ggtt_quota"
	reads 0 "$S/vf1/tile0/ggtt_quota"
	puts "$ENOSPC" 12851347457 "$S/vf1/tile0/vram_quota"
	puts OK Y "$S/restore_auto_provisioning"
	unload
}

t_errno() {
	load
	local f=$S/vf1/tile0/gt0
	puts "$EINVAL" x "$f/contexts_quota"
	puts "$EINVAL" -1 "$f/contexts_quota"
	puts "$EINVAL" 1.5 "$f/contexts_quota"
	puts "$ERANGE" 18446744073709551616 "$f/contexts_quota"
	puts "$EOVERFLOW" 4294967296 "$f/contexts_quota"
	puts "$EINVAL" 65536 "$f/contexts_quota"
	puts "$EDQUOT" 65500 "$f/contexts_quota"
	puts OK 0x10 "$f/contexts_quota"
	reads 16 "$f/contexts_quota"
	puts "$EINVAL" 257 "$f/doorbells_quota"
	puts OK 256 "$f/doorbells_quota"
	puts "$ENOSPC" 1 "$S/vf2/tile0/gt0/doorbells_quota"
	puts OK 16 "$S/pf/tile0/gt0/doorbells_spare"
	puts "$EDQUOT" 241 "$f/doorbells_quota"
	reads 0 "$f/doorbells_quota"
	puts "$EINVAL" 255 "$S/pf/tile0/gt0/contexts_spare"
	reads 256 "$S/pf/tile0/gt0/contexts_spare"
	puts "$EINVAL" 1000 "$S/pf/tile0/ggtt_spare"
	puts OK 134217729 "$S/pf/tile0/ggtt_spare"
	reads 134221824 "$S/pf/tile0/ggtt_spare"
	puts OK 0 "$S/pf/tile0/ggtt_spare"
	reads 67108864 "$S/pf/tile0/ggtt_spare"
	puts "$EINVAL" 1048576 "$S/pf/tile0/vram_spare"
	reads 134217728 "$D/gt0/pf/lmem_spare"
	puts OK 200000 "$f/exec_quantum_ms"
	reads 100000 "$f/exec_quantum_ms"
	puts OK 200000000 "$f/preempt_timeout_us"
	reads 100000000 "$f/preempt_timeout_us"
	puts "$EOVERFLOW" 2 "$S/pf/tile0/gt0/reset_engine"
	puts OK 1 "$S/pf/tile0/gt0/reset_engine"
	puts OK 1000 "$S/pf/tile0/gt1/sample_period_ms"
	reads 1000 "$S/pf/tile0/gt1/sample_period_ms"
	puts OK 5 "$f/threshold_guc_time_us"
	puts "$EIO" 1 "$f/sched_priority"
	puts OK 2 "$S/pf/tile0/gt0/sched_priority"
	puts "$EINVAL" maybe "$S/restore_auto_provisioning"
	reads "" "$S/restore_auto_provisioning"
	param wedged Y
	puts "$ECANCELED" 1 "$f/contexts_quota"
	puts OK 0 "$S/pf/tile0/gt0/reset_engine"
	same "numvfs when wedged" "$ECANCELED" "$(numvfs 1)"
	param wedged N
	unload
}

t_modes() {
	load
	local f
	for f in 200:restore_auto_provisioning 400:lockdown_vfs_enabling 444:pf/vfs 444:pf/versions 644:pf/tile0/ggtt_spare \
		444:pf/tile0/ggtt_available 644:pf/tile0/gt0/reset_engine 200:vf1/pause 600:vf1/save 600:vf1/migration_data \
		400:vf1/migration_size 600:vf1/tile0/gt1/control 644:vf1/tile0/ggtt_quota 644:vf1/tile0/gt0/sched_priority; do
		same "mode of ${f#*:}" "${f%%:*}" "$(stat -c %a "$S/${f#*:}")"
	done
	for f in 200:.bulk_profile/exec_quantum_ms 644:pf/profile/sched_priority 444:vf1/profile/sched_priority 200:vf1/stop; do
		same "mode of sriov_admin/${f#*:}" "${f%%:*}" "$(stat -c %a "$P/sriov_admin/${f#*:}")"
	done
	exec 7<"$S/lockdown_vfs_enabling"
	same "numvfs under lockdown" "$EPERM" "$(numvfs 1)"
	exec 7<&-
	same "numvfs after lockdown" OK "$(numvfs 1)"
	reads "$EBUSY" "$S/lockdown_vfs_enabling"
	numvfs 0 >/dev/null
	unload
}

t_admin() {
	load
	put 0 "$P/sriov_drivers_autoprobe" >/dev/null
	local a=$P/sriov_admin
	reads 0 "$a/pf/profile/exec_quantum_ms"
	reads "[low] normal high" "$a/pf/profile/sched_priority"
	reads "[low] normal" "$a/vf1/profile/sched_priority"
	puts OK 20 "$a/pf/profile/exec_quantum_ms"
	reads 20 "$S/pf/tile0/gt1/exec_quantum_ms"
	puts "$EINVAL" x "$a/vf1/profile/exec_quantum_ms"
	puts "$ERANGE" 4294967296 "$a/vf1/profile/exec_quantum_ms"
	puts OK 10 "$a/.bulk_profile/exec_quantum_ms"
	puts OK 20000 "$a/.bulk_profile/preempt_timeout_us"
	reads 10 "$a/vf7/profile/exec_quantum_ms"
	reads 20000 "$a/pf/profile/preempt_timeout_us"
	puts OK high "$a/pf/profile/sched_priority"
	reads "low normal [high]" "$a/pf/profile/sched_priority"
	puts "$EINVAL" high "$a/.bulk_profile/sched_priority"
	puts OK normal "$a/.bulk_profile/sched_priority"
	reads "low [normal] high" "$a/pf/profile/sched_priority"
	reads 1 "$S/pf/tile0/gt0/sched_if_idle"
	puts OK low "$a/.bulk_profile/sched_priority"
	same "still automatic" OK "$(numvfs 1)"
	reads 10 "$a/vf1/profile/exec_quantum_ms"
	reads 2147483648 "$S/vf1/tile0/ggtt_quota"
	numvfs 0 >/dev/null
	reads 0 "$a/vf1/profile/exec_quantum_ms"
	reads 10 "$a/pf/profile/exec_quantum_ms"
	reads 0 "$S/vf1/tile0/ggtt_quota"
	puts OK 7 "$S/vf1/tile0/gt0/exec_quantum_ms"
	reads "$EUCLEAN" "$a/vf1/profile/exec_quantum_ms"
	unload
}

t_legacy() {
	load layout=legacy
	put 0 "$P/sriov_drivers_autoprobe" >/dev/null
	same "no sriov_admin" no "$([ -e "$P/sriov_admin" ] && echo yes || echo no)"
	same "no sriov/" no "$([ -e "$S" ] && echo yes || echo no)"
	same "numvfs 1" OK "$(numvfs 1)"
	reads 65279 "$D/gt0/vf1/contexts_quota"
	reads 256 "$D/gt1/vf1/doorbells_quota"
	numvfs 0 >/dev/null
	reads 0 "$D/gt0/vf1/ggtt_quota"
	puts OK 1073741824 "$D/gt0/vf1/ggtt_quota"
	puts OK 1024 "$D/gt0/vf1/contexts_quota"
	puts OK 100 "$D/gt0/vf1/doorbells_quota"
	same "numvfs 1, set by hand" OK "$(numvfs 1)"
	reads 1024 "$D/gt0/vf1/contexts_quota"
	reads 65279 "$D/gt1/vf1/contexts_quota"
	numvfs 0 >/dev/null
	reads 0 "$D/gt0/vf1/ggtt_quota"
	reads $'total: 7\nsupported: 7\nenabled: 0' "$D/pf/vfs"
	same "no multi_lrc" no "$([ -e "$D/gt0/vf1/threshold_multi_lrc_count" ] && echo yes || echo no)"
	unload
}

t_ptl() {
	load device=ptl gts=1 max_vfs=4
	put 0 "$P/sriov_drivers_autoprobe" >/dev/null
	reads 0xb080 "$P/device"
	reads 4 "$P/sriov_totalvfs"
	reads $'total: 7\nsupported: 4\nenabled: 0' "$S/pf/vfs"
	same "no VRAM" "" "$(find "$D/" -name '*vram*' -o -name '*lmem*')"
	same "no second GT" no "$([ -e "$D/gt1" ] && echo yes || echo no)"
	reads $'range:\t0x200000-0xfedfffff\t(3.98 GiB)\ntotal:\t4273995776\t(3.98 GiB)\nspare:\t67108864\t(64.0 MiB)\navail:\t4206886912\t(3.92 GiB)' "$S/pf/tile0/ggtt_available"
	same "registers" 14 "$(wc -l <"$S/pf/tile0/gt0/runtime_registers")"
	same "numvfs 4" OK "$(numvfs 4)"
	reads 536870912 "$S/vf4/tile0/ggtt_quota"
	puts OK 1 "$S/vf1/pause"
	same "errno of the only GT" "$ESTALE" "$(put 1 "$S/vf1/pause")"
	numvfs 0 >/dev/null
	unload

	load max_vfs=0
	reads 0 "$P/sriov_totalvfs"
	reads $'supported: yes\nenabled: no\nmode: none' "$D/sriov_info"
	same "native: no sriov_admin" no "$([ -e "$P/sriov_admin" ] && echo yes || echo no)"
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
for group in ${*:-load rules auto quota errno modes admin control migrate vf legacy ptl faults loops}; do
	echo "# $group"
	"t_$group"
done
same "kernel log without warnings" "" "$(dmesg | grep -E 'WARNING|BUG|Oops|Call Trace|refcount|leak|sysfs: cannot' | head -3)"
echo "# $PASSED ok, $FAILED not ok"
[ "$FAILED" = 0 ]

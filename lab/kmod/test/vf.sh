# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Groups of exercise.sh that are about single VFs.

t_control() {
	load
	put 0 "$P/sriov_drivers_autoprobe" >/dev/null
	numvfs 2 >/dev/null
	local v=$S/vf1
	puts "$EUCLEAN" 1 "$v/resume"
	puts OK 1 "$v/pause"
	puts "$EUCLEAN" 1 "$v/pause"
	puts OK 0 "$v/pause"
	puts OK 1 "$v/resume"
	puts OK pause "$v/tile0/gt1/control"
	puts "$ESTALE" pause "$v/tile0/gt1/control"
	same "fails on gt1 only" "$ESTALE" "$(put 1 "$v/pause")"
	puts OK clear "$v/tile0/gt0/control"
	puts OK 1 "$P/sriov_admin/vf1/stop"
	puts "$EUCLEAN" 1 "$v/stop"
	puts "$EUCLEAN" 1 "$v/pause"
	puts "$EPERM" 1 "$v/save"
	puts OK 1 "$v/reset"
	puts OK 1 "$v/pause"
	puts "$EUCLEAN" 1 "$S/vf3/pause"
	reads $'stop\npause\nresume' "$v/tile0/gt0/control"
	numvfs 0 >/dev/null
	unload
}

t_migrate() {
	load
	put 0 "$P/sriov_drivers_autoprobe" >/dev/null
	numvfs 2 >/dev/null
	local a=$S/vf1 b=$S/vf2 file
	file=$(mktemp)
	reads "$EIO" "$a/save"
	puts "$EPERM" 1 "$a/save"
	puts OK 1 "$a/pause"
	puts OK 1 "$a/save"
	puts "$EALREADY" 1 "$a/save"
	puts "$EUCLEAN" 1 "$a/resume"
	cat "$a/migration_data" >"$file"
	same "size of the stream" "$(cat "$a/migration_size")" "$(stat -c %s "$file")"
	reads "" "$a/save"
	reads "$EIO" "$a/save"
	puts OK 1 "$b/pause"
	puts OK 1 "$b/restore"
	same "stream written in odd pieces" 0 "$(dd if="$file" of="$b/migration_data" bs=1000 conv=notrunc status=none 2>&1 | wc -l)"
	reads "" "$b/restore"
	puts OK 1 "$b/resume"
	puts OK 1 "$a/resume"

	puts OK 16777216 "$S/vf2/tile0/ggtt_quota"
	puts OK 1 "$b/pause"
	puts OK 1 "$b/restore"
	dd if="$file" of="$b/migration_data" bs=1000 conv=notrunc status=none 2>/dev/null
	reads "$EIO" "$b/restore"
	puts OK 1 "$b/restore"
	same "garbage in the stream" "$EINVAL" "$(put xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx "$b/migration_data")"
	puts OK 1 "$b/stop"
	rm -f "$file"
	timeout 1 cat "$a/migration_data" >/dev/null
	same "read without save waits" 124 $?
	numvfs 0 >/dev/null
	unload

	load migration=0
	reads "$ENOPKG" "$S/vf1/migration_size"
	unload
}

# What a VF sees, with the VFs bound to xe on the host.
t_vf() {
	load
	put 1 "$P/sriov_drivers_autoprobe" >/dev/null
	numvfs 2 >/dev/null
	local vf1 vf2 bdf
	bdf=$(basename "$(readlink "$P/virtfn0")")
	vf1=/sys/kernel/debug/dri/$bdf
	vf2=/sys/kernel/debug/dri/$(basename "$(readlink "$P/virtfn1")")
	same "mode of a VF" "mode: SR-IOV VF" "$(tail -1 "$vf1/sriov_info")"
	reads 1000000 "$vf1/standin/gpu_time"
	exec 7<"$vf1/standin/gpu_time" 8<"$vf2/standin/gpu_time"
	sleep 0.3
	reads 500000 "$vf1/standin/gpu_time"
	put 30 "$P/sriov_admin/vf1/profile/exec_quantum_ms" >/dev/null
	put 10 "$P/sriov_admin/vf2/profile/exec_quantum_ms" >/dev/null
	sleep 0.3
	reads 750000 "$vf1/standin/gpu_time"
	put 1 "$S/vf1/pause" >/dev/null
	sleep 0.3
	reads 1000000 "$vf2/standin/gpu_time"
	put 1 "$S/vf1/resume" >/dev/null

	puts OK 100 "$S/vf1/tile0/gt0/contexts_quota"
	same "VF keeps what it was told" "GuC contexts:	16384" "$(grep contexts "$vf1/gt0/vf/self_config")"
	same "reset of the VF" OK "$(put 1 "$P/virtfn0/reset")"
	sleep 2
	same "VF knows the new quota" "GuC contexts:	100" "$(grep contexts "$vf1/gt0/vf/self_config")"
	same "VF is connected again" "VF1:	1.0" "$(grep VF1 "$S/pf/versions")"

	same "VF unbound while it works" OK "$(put "$bdf" /sys/bus/pci/drivers/xe/unbind)"
	exec 7<&- 8<&-
	same "reset of the PF" OK "$(put 1 "$P/reset")"
	same "VF bound again" OK "$(put "$bdf" /sys/bus/pci/drivers/xe/bind)"
	same "VF after reset of the PF" "GuC contexts:	100" "$(grep contexts "$vf1/gt0/vf/self_config")"
	puts OK 0x5 "$vf1/gt0/vf/resfix_stoppers"
	reads 0x05 "$vf1/gt0/vf/resfix_stoppers"
	unload
}

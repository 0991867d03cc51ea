#!/bin/sh
# power.sh PROGRAM DIR load|check: runs in a lab DUT. The state of the engine is on an ext4 file system in
# DIR/disk. Each line of DIR/acknowledged is a submit or a result that the engine has acknowledged.
# DIR is a directory of the host, so that it outlives the DUT.
set -eu
program=$1
dir=$2
cd "$dir"
mkdir -p /srv/state /tmp/toy
modprobe loop
mount -o loop disk /srv/state
export VMTB_FLEET_KEY=/srv/state/admin.key TOY_DIR=/tmp/toy VMTB_STATE_DIR=/tmp/toy/state
"$program" as-fleet serve --dir=/srv/state --listen=127.0.0.1:4222 --url=tls://127.0.0.1:4222 >>serve.log 2>&1 &
i=0
until "$program" as-fleet duts >/dev/null 2>&1; do
	i=$((i + 1))
	[ $i -lt 300 ] || { cat serve.log; exit 1; }
	sleep 0.2
done
agent() {
	"$program" as-fleet agent --key="$dir/dut.key" --spool=/tmp/spool --vmtb="$program as-vmtb" >>agent.log 2>&1 &
}
results() { timeout "$1" "$program" as-fleet watch "$2" | grep -q '6 pass; exit code 0$'; }
case $3 in
load) # until the DUT is killed
	rm -f dut.key
	echo '{"vfs":"4"}' >/tmp/toy/labels.json
	"$program" as-fleet enroll dut -o dut.key >/dev/null
	agent
	n=0
	while :; do
		n=$((n + 1))
		"$program" as-fleet submit --id="r$n" --lost-after=30s --vmtb="$program as-vmtb" test_toy::TestWeak >/dev/null
		echo "submit r$n" >>acknowledged
		# The results of the run before: watch ends when the engine has all of them.
		[ $n -eq 1 ] || { results 300 "r$((n - 1))" && echo "result r$((n - 1))" >>acknowledged; }
	done
	;;
check)
	# Results that are not there do not come, because there is no agent yet.
	grep result acknowledged | while read -r _ id; do results 20 "$id" || echo "lost: results of $id"; done
	echo '{"vfs":"4"}' >/tmp/toy/labels.json
	agent
	grep submit acknowledged | while read -r _ id; do results 300 "$id" || echo "lost: units of $id"; done
	echo checked
	;;
esac

#!/bin/sh
# lava.sh runs this script after lava-up.sh. It submits the recipe's jobs and stores what LAVA says
# about them in DIR/out.
set -eu
cd /mnt/test
step() { echo "$(cut -d' ' -f1 /proc/uptime) $*"; }
soon() { # TRIES COMMAND: waits until COMMAND succeeds, for at most 2 s a try
	i=0
	until sh -c "$2" >/dev/null 2>&1; do
		i=$((i + 1))
		if [ $i -gt "$1" ]; then
			echo "not so within $(($1 * 2)) s: $2"
			lavacli devices list
			lavacli jobs list
			tail -n 20 /var/log/lab-*.log /var/log/lava-server/*.log
			exit 1
		fi
		sleep 2
	done
}
ended() { soon 240 "lavacli jobs show $1 | grep -q '^state *: Finished'"; }
keep() { # JOB NAME: stores the results and the log of a job
	lavacli jobs show "$1" >out/"$2".job
	lavacli results "$1" --yaml >out/"$2".yaml
	lavacli jobs logs "$1" >out/"$2".log 2>&1
}
step health checks
for n in 1 2; do soon 240 "lavacli devices show dut$n | grep -q '^health *: Good'"; done
step two jobs on the devices with their tags
bmg=$(lavacli jobs submit bmg.yaml)
ptl=$(lavacli jobs submit ptl.yaml)
ended "$bmg"
ended "$ptl"
keep "$bmg" bmg
keep "$ptl" ptl
step a DUT dies
die=$(lavacli jobs submit die.yaml)
soon 120 '[ -e /srv/dut1/waiting ]'
soon 30 "lavacli results $die | grep -q begin"
# All that dut1 has runs in the mount namespace of its sshd: the job, and the session of LAVA. The listener
# stays: it is the machine after its reboot.
listener=$(pgrep -of 'sshd -D -p 2201')
dut1=$(readlink "/proc/$listener/ns/mnt")
killed=
for p in /proc/[0-9]*; do
	if [ "$p" != "/proc/$listener" ] && [ "$(readlink "$p/ns/mnt")" = "$dut1" ]; then
		killed="$killed ${p#/proc/}"
	fi
done
kill -9 $killed
step "killed the processes of dut1:$killed"
ended "$die"
keep "$die" die
step submits the job again, after the health check
touch /srv/dut1/go
again=$(sh recipe/resubmit.sh "$die")
none=$(sh recipe/resubmit.sh "$bmg")
step "job $die is submitted again as '$again', job $bmg as '$none'"
ended "$again"
keep "$again" again
lavacli jobs list >out/jobs
lavacli devices list >out/devices
step "$(ps -eo rss= | awk '{ s += $1 } END { printf "%d MB of RSS", s / 1024 }'), $(df -m /mnt/test/mnt | awk 'END { print $3 }') MB in the overlay"
step done

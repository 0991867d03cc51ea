#!/bin/sh
# slurm.sh runs this script in its namespaces. It runs the book's recipe for Slurm, and kills node
# dut2 while the node's shard runs.
set -eu
export RUNS=/srv/runs
here=$(dirname "$0")
munged --force
slurmctld
for n in 1 2 3; do slurmd -N dut$n; done
until [ "$(sinfo -h -N -o %T | grep -c idle)" = 3 ]; do sleep 0.5; done
sbatch --test-only --array=1-6 --constraint='gpu-bmg&vfs-24' "$here/recipe/shard.sh" test_toy::TestToy
"$here/recipe/submit.sh" 'gpu-bmg&vfs-24' 6 test_toy::TestToy
until shard=$(squeue -h -t RUNNING -w dut2 -o %K) && grep -q '"phase":"case"' "$RUNS"/*/"$shard"/journal.jsonl 2>/dev/null; do
	sleep 0.2
done
kill -9 "$(cat /run/slurmd.dut2.pid)"
for p in /proc/[0-9]*; do
	if { tr '\0' '\n' <"$p/environ"; } 2>/dev/null | grep -qx 'SLURMD_NODENAME=dut2'; then
		parent=$(sed -n 's/^PPid:[[:space:]]*//p' "$p/status")
		case $(cat "/proc/$parent/comm") in slurmstepd*) kill -9 "$parent" ;; esac
		kill -9 "${p#/proc/}" || true
	fi
done
echo "killed dut2 in shard $shard"
until [ -z "$(squeue -h -o %i)" ]; do sleep 0.5; done
cat "$RUNS"/*.out
cp -a "$RUNS"/*/all "$here/out/"

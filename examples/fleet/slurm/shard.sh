#!/bin/sh
# One task of the array runs one shard of the flows on one DUT. If the node dies, Slurm queues the
# task again, and the task resumes the run. RUNS is a directory that all nodes share.
#SBATCH --job-name=vmtb
#SBATCH --exclusive
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --time=02:00:00
set -u
dir=$RUNS/$SLURM_ARRAY_JOB_ID/$SLURM_ARRAY_TASK_ID
if [ -f "$dir/run.json" ]; then
	vmtb resume "$dir"
	code=$?
	[ "$code" -eq 2 ] || exit "$code"
	# The dead node still has the changes of the run, and this node cannot undo them. So start a new run
	# of the flows that did not pass.
	exec vmtb run --failed-in="$dir" --run-dir="$dir.$SLURM_RESTART_COUNT"
fi
rm -rf "$dir"
exec vmtb run --run-dir="$dir" --shard="$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" "$@"

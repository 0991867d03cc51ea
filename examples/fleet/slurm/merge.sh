#!/bin/sh
# merge.sh ARRAY_JOB_ID: merges all shards of an array into one run directory with reports.
#SBATCH --job-name=vmtb-merge
#SBATCH --time=00:10:00
set -u
exec vmtb merge -o "$RUNS/$1/all" --report=html --report=junit --exit-code "$RUNS/$1"/[0-9]*

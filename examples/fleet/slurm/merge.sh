#!/bin/sh
# merge.sh ARRAY_JOB_ID: makes one run directory, and its reports, of all shards of an array.
#SBATCH --job-name=vmtb-merge
#SBATCH --time=00:10:00
set -u
exec vmtb merge -o "$RUNS/$1/all" --report=html --report=junit --exit-code "$RUNS/$1"/[0-9]*

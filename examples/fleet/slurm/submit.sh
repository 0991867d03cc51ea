#!/bin/sh
# submit.sh FEATURES SHARDS SELECTION...: queues the shards on nodes with the features, and the merge
# after them: submit.sh 'gpu-bmg&vfs-24' 8 test_basic
set -eu
features=$1 shards=$2
shift 2
cd "$(dirname "$0")"
id=$(sbatch --parsable --array="1-$shards" --constraint="$features" --output="$RUNS/%A_%a.out" shard.sh "$@")
sbatch --parsable --dependency="afterany:$id" --output="$RUNS/%j.out" merge.sh "$id"

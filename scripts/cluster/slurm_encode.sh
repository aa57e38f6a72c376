#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A list of images to codes by an array of Slurm jobs, one a shard:
#   sbatch --array=0-999 scripts/cluster/slurm_encode.sh 1000 MODEL LIST PARTS [OPTIONS of hybridhash encode]
# 1000 is the number of shards; --array chooses which of them run. A shard that is there already ends at once, so the
# same line again does what is missing: Slurm itself repeats tasks of lost nodes alone. HYBRIDHASH is the program.
#SBATCH --ntasks=1
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
shards=$1 model=$2 list=$3 parts=$4
shift 4
# exec, so that Slurm's SIGTERM reaches the program.
exec "${HYBRIDHASH:-hybridhash}" encode --model "$model" --list "$list" --shard "$SLURM_ARRAY_TASK_ID/$shards" \
  --out "$parts/" --threads "${SLURM_CPUS_PER_TASK:-1}" "$@"

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# scripts/cluster on a Slurm, a Ray and a Sail that are started on this machine: cluster_test.sh PROGRAM. The last line is
# "N passed, N failed". What isn't there is skipped with the reason; then there is one test less.
set -uo pipefail
program=$(realpath "$1")
cd "$(dirname "$0")/../.." || exit
. scripts/count.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! command -v slurmctld slurmd munged sbatch >/dev/null; then
  echo "skipped: Slurm, since slurmctld, slurmd, slurm-client or munge isn't installed (scripts/install.sh checks)"
elif [ "$(id -u)" -ne 0 ]; then
  echo "skipped: Slurm, since only root can start it"
else
  count "Slurm" python3 tests/cluster/slurm_test.py "$program"
fi
python=${HH_CLUSTER_PYTHON:-$work/venv/bin/python}
if [ -z "${HH_CLUSTER_PYTHON:-}" ] && ! { python3 -m venv "$work/venv" &&
  "$python" -m pip install -q -r tests/cluster/requirements.txt; } >"$work/log" 2>&1; then
  echo "skipped: Ray and Sail, since an environment can't be made or PyPI can't be reached"
  [ "$passed,$failed" != 0,0 ] || passed=1
  finish
fi
count "Ray" "$python" tests/cluster/ray_test.py "$program"
count "Sail" "$python" tests/cluster/sail_test.py "$program"
finish

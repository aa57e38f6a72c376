#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What our CUDA kernels ask of a GPU, counted and ESTIMATED by ptxsim on a machine without one:
#   bench/cuda_report/report.sh [GPU] [REGEX]    GPU: h100 (default), h200, a100, rtx4090; cases that match
#   bench/cuda_report/report.sh --step [GPU] [BATCH]   a whole `paper` training step in bf16; batch 8 if none is given
#   report.sh --run GPU JSON PROGRAM ARGS...     what `hh_bench run --estimate GPU` calls; JSON may be empty
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
simulator=${PTXSIM_HOME:-$root/../shared/ptxsim}/bin/ptxsim
if [ ! -x "$simulator" ]; then
  echo "hh_bench: --estimate needs ptxsim; $simulator isn't there (set PTXSIM_HOME)" >&2
  exit 2
fi
profile=$(mktemp)
trap 'rm -f "$profile"' EXIT
export HH_TUNE=0  # the simulator's algorithms cost the same, and timing them would be counted
json=
case ${1:-} in
  --step)
    (cd "$root" && scripts/build.sh cuda hybridhash hh_cuda)
    "$simulator" run --profile="$profile" --gpu="${2:-h100}" -- "$root/build/cuda/bin/hybridhash" bench \
      --device cuda --config paper --mode train --batch "${3:-8}" --dtype bf16 --steps 1 >/dev/null
    python3 "$root/bench/cuda_report/report.py" "$profile" --step
    exit ;;
  --run)
    gpu=$2 json=$3
    shift 3 ;;
  *)
    (cd "$root" && scripts/build.sh cuda hh_bench hh_cuda)
    gpu=${1:-h100}
    set -- "$root/build/cuda/bin/hh_bench" run --device cuda --filter "${2:-.}" ;;
esac
"$simulator" build >/dev/null
HH_BENCH_ONCE=1 HH_BENCH_CASES="$profile" "$simulator" run --profile="$profile" --gpu="$gpu" -- "$@" >/dev/null
python3 "$root/bench/cuda_report/report.py" "$profile" ${json:+--json "$json"}

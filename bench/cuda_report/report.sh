#!/usr/bin/env bash
# What our CUDA kernels ask of a GPU, counted and ESTIMATED by ptxsim on a machine without one:
#   bench/cuda_report/report.sh [GPU] [REGEX]    GPU: h100 (default), a100, rtx4090; cases that match
#   bench/cuda_report/report.sh --step [GPU]     a whole `paper` training step in bf16, batch 2
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
json=
case ${1:-} in
  --step)
    (cd "$root" && scripts/build.sh cuda hybridhash hh_cuda)
    # Two steps warm up and three are measured; the profile holds all, which changes no share.
    "$simulator" run --profile="$profile" --gpu="${2:-h100}" -- "$root/build/cuda/bin/hybridhash" bench \
      --device cuda --config paper --mode train --batch 2 --dtype bf16 --seconds 0 >/dev/null
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

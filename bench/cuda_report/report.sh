#!/usr/bin/env bash
# What our CUDA kernels ask of a GPU, counted and estimated by ptxsim on a machine without one:
#   bench/cuda_report/report.sh [GPU] [REGEX]    GPU: h100 (default), a100, rtx4090; ops whose stem matches
#   bench/cuda_report/report.sh --step [GPU]     a whole `paper` training step in bf16, batch 2
set -euo pipefail
cd "$(dirname "$0")/../.."
simulator=${PTXSIM_HOME:-../shared/ptxsim}/bin/ptxsim
scripts/build.sh cuda
profile=$(mktemp)
trap 'rm -f "$profile"' EXIT
if [ "${1:-}" = --step ]; then
  # Two steps warm up and three are measured; the profile holds all, which changes no share.
  "$simulator" run --profile="$profile" --gpu="${2:-h100}" -- build/cuda/bin/hybridhash bench \
    --device cuda --config paper --mode train --batch 2 --dtype bf16 --seconds 0 >/dev/null
  exec python3 bench/cuda_report/report.py "$profile" --step
fi
HH_BENCH_ONCE=1 HH_BENCH_DEVICE=cuda "$simulator" run --profile="$profile" --gpu="${1:-h100}" -- \
  build/cuda/bin/hh_bench "${2:-}" >/dev/null
python3 bench/cuda_report/report.py "$profile"

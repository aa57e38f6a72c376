#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# One run on a machine with a GPU that tells all, in nine minutes at most: right results side by side, then times alone, then
# counters. From a bundle (bundle.sh) or a tree with build/cuda.
#   run.sh [--limit SECONDS] [--out FOLDER] [--only REGEX] [--dry]
#     --limit   of the whole run, default 540 (also LIMIT)
#     --out     an empty folder, or one to be made; default gpu-run (also OUT)
#     --only    parts whose name has a match
#     --dry     shortened, for a simulator: `ptxsim run --gpu=h200 -- bench/gpu/run.sh --dry`; its times mean nothing
# Every part has a limit of its own, and lands in FOLDER as it ends. A part whose tool is missing is skipped by name.
# CUDA's libraries are looked for in HH_CUDA_LIBRARIES, Python's nvidia packages (HH_PYTHON, default python3) and the toolkit.
# shellcheck disable=SC2034  # much of what is set here is read in parts/
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
for file in common machine correct search timings counters; do
  # shellcheck disable=SC1090
  . "$root/bench/gpu/parts/$file.sh"
done

limit=${LIMIT:-540} OUT=${OUT:-gpu-run} only=. dry=false python=${HH_PYTHON:-python3}
while [ $# -gt 0 ]; do
  case $1 in
    --dry) dry=true ;;
    --limit | --out | --only)
      [ $# -gt 1 ] || { echo "run.sh: $1: a value must follow" >&2; exit 2; }
      case $1 in --limit) limit=$2 ;; --out) OUT=$2 ;; --only) only=$2 ;; esac
      shift ;;
    *) echo "run.sh: $1: unknown; run.sh [--limit SECONDS] [--out FOLDER] [--only REGEX] [--dry]" >&2; exit 2 ;;
  esac
  shift
done
if ! [[ $limit =~ ^[0-9]{1,5}$ ]] || [ "$limit" -lt 30 ]; then
  echo "run.sh: --limit $limit: must be whole seconds, 30 at least" >&2
  exit 2
fi

bin=$root/bin goldens=$root/share/hybridhash/goldens
if [ ! -x "$bin/hybridhash" ]; then
  bin=$root/build/cuda/bin goldens=$root/tests/goldens
fi
if [ ! -x "$bin/hybridhash" ] || [ ! -e "$bin/libhh_cuda.so" ]; then
  echo "run.sh: $bin lacks hybridhash or libhh_cuda.so; build with the cuda preset, or unpack a bundle" >&2
  exit 2
fi
if [ -n "$(ls -A "$OUT" 2>/dev/null)" ]; then
  echo "run.sh: --out $OUT: must be empty; name another folder" >&2
  exit 2
fi
mkdir -p "$OUT/logs" "$OUT/verify" && OUT=$(cd "$OUT" && pwd) || exit
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
exec > >(tee "$OUT/log.txt") 2>&1

# What was in LD_LIBRARY_PATH comes first (a simulator's stand-ins), the machine's CUDA last.
libraries=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$root/lib:$(cuda_libraries)
# By env, so that only our programs meet the bundle's libraries, and neither Python nor NVIDIA's tools do. The choice of cuBLASLt's
# algorithms starts from nothing and is part of the results.
hh=(env "LD_LIBRARY_PATH=$libraries" "XDG_CACHE_HOME=$OUT" "HH_THREADS=${HH_THREADS:-4}")

phase=machine phase_end=$limit
describe_machine
check_libraries
correct_until=$((limit * 37 / 100)) timings_until=$((limit * 78 / 100))
phase=timings
start_pytorch
phase=correctness phase_end=$correct_until
correctness
phase=timings phase_end=$timings_until
timings
phase=counters phase_end=$((limit - 5))  # timeout kills five seconds after it asked
counters
say "done; in a tree, python3 bench/gpu/report.py $OUT makes the page"
awk -F'\t' '{ count[$3]++ } END { for (s in count) print count[s], s }' "$OUT/parts.tsv"

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Follows docs/kernels/your-own.md word by word: its files, and its commands, with the folder mine/ elsewhere. On a GPU where there is one, else
# in the simulator if it is there; PyTorch's part by HH_TEST_PYTHON. Build folders are kept, so that ccache has most of it. The last line is
# "N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
. scripts/count.sh
page=docs/kernels/your-own.md
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export CCACHE_NOHASHDIR=1
mkdir "$folder/mine"
block() { awk -v mark="\`\`\`$1" '$0 == mark { on = 1; next } /^```/ { on = 0 } on' "$page"; }
block cpp >"$folder/mine/plain_gelu.cpp"
block cuda >"$folder/mine/plain_gelu.cu"
simulator=${PTXSIM_HOME:-../shared/ptxsim}/bin/ptxsim
on_gpu=
[ -e /dev/nvidiactl ] || on_gpu="$simulator run --check=memory,init,race,sync,leak -- "
has_gpu() { command -v nvcc && { [ -e /dev/nvidiactl ] || [ -x "$simulator" ]; }; }

# says PATTERN COMMAND: it succeeds and prints that.
says() { bash -c "$2" 2>&1 | tee "$folder/said"; local status=${PIPESTATUS[0]}; [ "$status" -eq 0 ] && grep -qE "$1" "$folder/said"; }

mapfile -t commands < <(awk '/^```/ { code = !code } /^    / && !code { print substr($0, 5) }' "$page")
for written in "${commands[@]}"; do
  command=${written//HH_VARIANTS=mine/HH_VARIANTS=$folder/mine}
  command=${command/mine.jsonl/$folder/mine.jsonl}
  case $command in
    *cuda*)
      if ! has_gpu >/dev/null; then
        echo "skipped: $written, since nvcc, or a GPU and ptxsim, aren't there"
        continue
      fi
      case $command in
        cmake* | ninja*) count "$written" bash -c "$command" ;;
        *hh_kernel_tests*) count "$written" says 'its kernels ran [1-9]' "${command/build/${on_gpu}build}" ;;
        # The simulator's clock is no GPU's.
        *) count "$written" bash -c "HH_BENCH_ONCE=1 ${command/build/${on_gpu}build}" ;;
      esac ;;
    HH_VARIANT=*)
      count "$written" says 'its kernels ran [1-9]' "$command"
      for wrong in "${command/plain/plian}" "${command/bias_gelu/linear}"; do
        count "no success without a run: $wrong" bash -c "! $wrong"
      done ;;
    build/*hh_bench*)
      count "$written" says '/plain ' "$command --min-time 0.01"
      count "records of both" test "$(grep -c '"bench":"bias_gelu_forward/f32/16384x128\(/plain\)\?"' "$folder/mine.jsonl")" -eq 2 ;;
    python3*)
      if "${HH_TEST_PYTHON:-python3}" -c "import torch" 2>/dev/null; then
        count "$written" says '/plain .*[0-9]' "${command/python3/${HH_TEST_PYTHON:-python3}} --rounds 1 --seconds 0.01 --eager"
      else
        echo "skipped: $written, since ${HH_TEST_PYTHON:-python3} has no torch (set HH_TEST_PYTHON)"
      fi ;;
    *) count "$written" bash -c "$command" ;;
  esac
done
# A kernel that is wrong is found by the same tests.
sed -i 's/0\.5 \* v/0.5001 * v/' "$folder/mine/plain_gelu.cpp"
count "the wrong kernel is built" ninja -C build/mine hh_kernel_tests
count "and refused" bash -c "! HH_VARIANT=plain build/mine/bin/hh_kernel_tests '[bias_gelu]'"
finish

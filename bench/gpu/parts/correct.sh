# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154
# Right results, before any time is taken. The parts run side by side, each by itself slow from launches and compiling, not from work.

# verify_case CASE DTYPE
verify_case() {
  [ -f "$goldens/$1.json" ] || { wanted "verify_$1" && skip "verify_$1" "$1.json isn't among the goldens"; return; }
  part 60 "verify_$1_$2" "${hh[@]}" "$bin/hybridhash" verify "$goldens/$1.json" --device cuda --dtype "$2" --failures \
    --json "$OUT/verify/$1.$2.json"
}

verify_all() {
  local case dtype
  for case in $(pick "micro_a micro_b micro_c micro_d micro_e full224 loss loss_small" "micro_e loss_small"); do
    verify_case "$case" f32
  done
  for dtype in bf16 f16; do
    for case in $(pick "micro_a micro_b micro_c micro_d micro_e full224" micro_e); do verify_case "$case" $dtype; done
  done
}

# The driver compiles all PTX anew, then takes it from its cache: the seconds are in parts.tsv.
jit_times() {
  local compile=("${hh[@]}" CUDA_FORCE_PTX_JIT=1 "CUDA_CACHE_PATH=$work/cache" "$bin/hybridhash" verify
    "$goldens/micro_e.json" --device cuda --failures)
  part 150 jit_cold "${compile[@]}"
  part 60 jit_warm "${compile[@]}"
}

# tests SECONDS NAME PROGRAM TAGS
tests() { part "$1" "$2" "${hh[@]}" HH_TEST_DEVICES=cuda "$bin/$3" "$4" -d yes -w NoTests; }

other_tests() {
  tests 150 engine hh_engine_tests "$(pick '[gradcheck],[tensor],[memory],[profiler]' '[memory]')"
  tests 100 model hh_model_tests "$(pick '[trainer]' '[memory_bank]')"
  # What takes cuDNN's place where it isn't installed.
  HH_CUDNN=0 tests 60 conv_without_cudnn hh_kernel_tests "$(pick '[conv]' 'conv2d gives the same bits*')"
}

sanitize() {
  local tool=$1 name=$2 limit=$3
  shift 3
  part "$limit" "$name" "$sanitizer" --tool "$tool" --target-processes all --launch-timeout 60 --error-exitcode 9 \
    --print-limit 20 "$@"
}

sanitizers() {
  local name
  sanitizer=$(command -v compute-sanitizer || command -v /usr/local/cuda/bin/compute-sanitizer)
  if [ -z "$sanitizer" ]; then
    for name in racecheck memcheck initcheck racecheck_attention; do
      wanted $name && skip $name "compute-sanitizer isn't there"
    done
    return
  fi
  local verify=("${hh[@]}" "$bin/hybridhash" verify "$goldens/micro_e.json" --device cuda --failures)
  local kernels=("${hh[@]}" HH_TEST_DEVICES=cuda "$bin/hh_kernel_tests" -d yes -w NoTests)
  sanitize racecheck racecheck 100 "${kernels[@]}" '[loss],[layer_norm]'
  sanitize memcheck memcheck 80 --leak-check full "${verify[@]}"
  sanitize initcheck initcheck 60 "${verify[@]}"
  sanitize racecheck racecheck_attention 60 "${kernels[@]}" '[attention]'
}

correctness() {
  local jobs=() job
  part 60 smoke "${hh[@]}" "$bin/hybridhash" verify "$goldens/micro_e.json" --device cuda --failures
  jit_times & jobs+=($!)
  verify_all & jobs+=($!)
  if $dry; then
    tests 150 kernels_add hh_kernel_tests 'add *' & jobs+=($!)
  else
    tests 150 kernels_attention hh_kernel_tests '[attention]' & jobs+=($!)
    tests 150 kernels_products hh_kernel_tests '[linear],[conv]' & jobs+=($!)
    tests 150 kernels_search hh_kernel_tests '[hamming],[loss]' & jobs+=($!)
    tests 150 kernels_rest hh_kernel_tests '~[attention]~[linear]~[conv]~[hamming]~[loss]' & jobs+=($!)
  fi
  other_tests & jobs+=($!)
  sanitizers & jobs+=($!)
  make_indexes & jobs+=($!)
  # Each ends with its phase. A bare wait would also wait for PyTorch.
  for job in "${jobs[@]}"; do wait "$job"; done
}

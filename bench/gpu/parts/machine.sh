# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154
# What the run is on, and where its libraries are.

# fact KEY VALUE: a line of machine.tsv.
fact() { printf '%s\t%s\n' "$1" "$2" >>"$OUT/machine.tsv"; }

# Folders with CUDA's libraries: named by HH_CUDA_LIBRARIES, Python's nvidia packages (which PyTorch brings), the toolkit's.
cuda_libraries() {
  local folder packages
  packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' 2>/dev/null)
  for folder in ${HH_CUDA_LIBRARIES:+${HH_CUDA_LIBRARIES//:/ }} "$packages"/nvidia/*/lib /usr/local/cuda/lib64; do
    compgen -G "$folder/lib*.so.*" >/dev/null && printf '%s:' "$folder"
  done
}

describe_machine() {
  # Without a driver's device what looks like a GPU is a simulator.
  if ! $dry && [ -e /dev/nvidiactl ]; then fact simulated false; else fact simulated true; fi
  fact date "$(date -u +%Y-%m-%d)"
  fact limit_s "$limit"
  fact only "$only"
  fact commit "$(cat "$root/COMMIT" 2>/dev/null || git -C "$root" rev-parse --short HEAD 2>/dev/null)"
  fact cpus "$(nproc)"
  fact kernel "$(uname -r)"
  fact glibc "$(ldd --version | head -n 1 | grep -oE '[0-9.]+$')"
  if command -v nvidia-smi >/dev/null; then
    local names=name,driver_version,memory.total,clocks.sm,clocks.max.sm,clocks.max.memory values key
    IFS=, read -ra values <<<"$(nvidia-smi --query-gpu=$names --format=csv,noheader | head -n 1)"
    for key in gpu driver memory sm_clock_now sm_clock_most memory_clock_most; do
      fact $key "$(xargs <<<"${values[0]:-}")"
      values=("${values[@]:1}")
    done
  else
    skip nvidia_smi "nvidia-smi isn't there"
  fi
  part 10 info "${hh[@]}" "$bin/hybridhash" info
}

# Fails when a library is missing, with its name in the log.
check_libraries() {
  # shellcheck disable=SC2016
  part 10 libraries bash -c '! LD_LIBRARY_PATH="$1" ldd "${@:2}" | tee /dev/stderr | grep "not found"' - "$libraries" \
    "$bin/hybridhash" "$bin/libhh_cuda.so" "$bin/hh_kernel_tests"
}

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Packs what run.sh needs to run on any Linux with glibc 2.36 or later and an NVIDIA driver:
#   bundle.sh BUILD OUT [--goldens FOLDER]... [--cuda]
#     BUILD      a build folder of the cuda preset, as build/cuda
#     OUT        OUT.tar.xz, OUT.tar.gz, or a folder that isn't there yet
#     --goldens  more reference cases, beside those of tests/goldens
#     --cuda     also cuBLASLt, cuDNN and NVRTC, 1.1 GB; without it run.sh takes them from PyTorch or the toolkit
# In it: bin/, lib/ (shared libraries but glibc's and the driver's), share/hybridhash/goldens, bench/, COMMIT (this tree's). Then, there:
#   bench/gpu/run.sh --out RESULTS
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
programs=(hybridhash libhh_cuda.so hh_kernel_tests hh_engine_tests hh_model_tests hh_bench)

fail() { echo "bundle.sh: $*" >&2; exit 2; }

[ $# -ge 2 ] || fail "usage: bundle.sh BUILD OUT [--goldens FOLDER]... [--cuda]"
build=$1 out=$2 goldens=("$root/tests/goldens") with_cuda=false
shift 2
while [ $# -gt 0 ]; do
  case $1 in
    --goldens)
      [ -d "${2:-}" ] || fail "--goldens ${2:-}: no folder"
      goldens+=("$2")
      shift ;;
    --cuda) with_cuda=true ;;
    *) fail "$1: unknown" ;;
  esac
  shift
done
for program in "${programs[@]}"; do
  [ -e "$build/bin/$program" ] || fail "$build/bin/$program isn't there; build the cuda preset first"
done
[ ! -e "$out" ] || fail "$out is there already"

cuda=$(sed -n 's/^CUDAToolkit_BIN_DIR:PATH=//p' "$build/CMakeCache.txt")
cuda=$(cd "${cuda:-$(dirname "$(command -v nvcc)")}/.." && pwd)
cuda_lib=$cuda/lib64
[ -e "$cuda_lib/libcublasLt.so" ] || cuda_lib=$cuda/lib
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packed=$work/hybridhash-gpu
mkdir -p "$packed"/{bin,lib,share/hybridhash/goldens,bench}

# is_packed LIBRARY: whether it is packed. glibc and the driver belong to the machine.
is_packed() {
  case $1 in
    ld-linux* | linux-vdso* | libc.so* | libm.so* | libdl.so* | libpthread.so* | librt.so* | libresolv.so* | libutil.so* | libnss_*) return 1 ;;
    libcuda.so* | libnvidia-*) return 1 ;;
    libcublas* | libcudnn* | libnvrtc*) $with_cuda ;;
    *) return 0 ;;
  esac
}

# add_libraries FILE...: what they load, and what that loads, under the names that are asked for.
add_libraries() {
  local name path
  while read -r name path; do
    if is_packed "$name"; then cp -Lu "$path" "$packed/lib/$name"; fi
  done < <(LD_LIBRARY_PATH=$cuda_lib ldd "$@" | awk '$2 == "=>" && $3 ~ /^\// { print $1, $3 }' | sort -u)
}

for program in "${programs[@]}"; do cp -L "$build/bin/$program" "$packed/bin/"; done
g++ -std=c++20 -O2 -Wall -Wextra -Werror -isystem "$cuda/include" "$root/bench/gpu/lt_probe.cpp" \
  -L"$cuda_lib" -lcublasLt -lcudart -o "$packed/bin/lt_probe"
add_libraries "$packed"/bin/*
if $with_cuda; then  # what is loaded by name
  for library in "$cuda_lib"/libcudnn*.so.9 "$cuda_lib"/libnvrtc-builtins.so.*; do
    [ -e "$library" ] || fail "--cuda: there is no $library"
    cp -L "$library" "$packed/lib/"
    add_libraries "$library"
  done
fi
strip --strip-debug "$packed"/bin/*

for folder in "${goldens[@]}"; do
  find "$folder" -maxdepth 1 \( -name '*.json' -o -name '*.safetensors' \) ! -name '*.weights.safetensors' \
    -exec cp -L {} "$packed/share/hybridhash/goldens/" \;
done
cp -r "$root/bench/gpu" "$packed/bench/"
rm -rf "$packed"/bench/gpu/{__pycache__,report*.py}  # the page is made in a tree
mkdir "$packed/bench/torch"
cp "$root/bench/torch/hybridhash_torch.py" "$packed/bench/torch/"
cp "$root/LICENSE" "$packed/"
git -C "$root" rev-parse HEAD >"$packed/COMMIT" 2>/dev/null || echo unknown >"$packed/COMMIT"

needed=$(objdump -T "$packed"/bin/* "$packed"/lib/* | grep -oE 'GLIBC_2\.[0-9]+' | sort -uV | tail -n 1)
newest=$(printf '%s\n' "$needed" GLIBC_2.36 | sort -V | tail -n 1)
[ "$newest" = GLIBC_2.36 ] || fail "what was built here needs $needed, later than 2.36; build on Debian 12"
case $out in
  *.tar.xz) XZ_OPT="-T0 -3" tar -C "$work" --owner=0 --group=0 -cJf "$out" hybridhash-gpu ;;
  *.tar.gz) tar -C "$work" --owner=0 --group=0 -czf "$out" hybridhash-gpu ;;
  *) cp -r "$packed" "$out" ;;
esac
echo "$out: $(du -sm "$out" | cut -f 1) MB, unpacked $(du -sm "$packed" | cut -f 1) MB; needs $needed"

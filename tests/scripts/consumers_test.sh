#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Programs of others against an installed prefix: consumers_test.sh BUILD_FOLDER. In C, in C++, with the kernels alone (the CPU's,
# the GPU's), and by pkg-config; none sees this tree. Then one that has the tree as a part of its own. The last line is
# "N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
. scripts/count.sh
started=$SECONDS
build=$1
tree=$PWD
simulator=$(realpath -m "${PTXSIM_HOME:-../shared/ptxsim}/bin/ptxsim")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
count "install" cmake --install "$build" --prefix "$prefix"
# Moved: nothing in it may say where it was made.
mv "$prefix" "$work/elsewhere"
prefix=$work/elsewhere
lib=$(dirname "$(find "$prefix" -name libhybridhash.so)")
cp -r tests/api/consumers "$work/sources"

# configure WHICH FOLDER OPTIONS...
configure() {
  cmake -G Ninja -S "$work/sources" -B "$work/$2" -DWHICH="$1" -DCMAKE_BUILD_TYPE=Release "${@:3}"
}
consumer() {
  configure "$1" "$1" -DCMAKE_PREFIX_PATH="$prefix" && ninja -C "$work/$1"
}
prints() {
  local wanted=$1 found
  shift
  found=$("$@") || return
  [ "$found" = "$wanted" ] || { echo "wanted: $wanted; found: $found"; return 1; }
}
# lacks PATTERN FILE: it has lines, and none is like that.
lacks() {
  [ -s "$2" ] && ! grep -E "$1" "$2"
}
version=$("$prefix/bin/hybridhash" --version)
for which in c cpp kernels; do
  count "consumer $which builds" consumer $which
done
count "consumer c runs" prints "1 0 2: 0 1 11
$version" "$work/c/consumer" "$work/index_c"
count "consumer cpp runs" prints "1 0 2 1 2" "$work/cpp/consumer" "$work/index_cpp"
count "consumer kernels runs" prints "11 33" "$work/kernels/consumer"
count "kernels don't look for CUDA" lacks CUDAToolkit "$work/kernels/CMakeCache.txt"

# says COMPONENT WORDS: why it isn't found, in CMake's words without their line breaks.
says() {
  mkdir -p "$work/absent" && cat >"$work/absent/CMakeLists.txt" <<EOF
cmake_minimum_required(VERSION 3.25)
project(absent LANGUAGES C CXX)
find_package(hybridhash REQUIRED COMPONENTS $1)
EOF
  ! cmake -S "$work/absent" -B "$work/absent/build" -DCMAKE_PREFIX_PATH="$prefix" >"$work/said" 2>&1 &&
    tr -s ' \n' ' ' <"$work/said" | grep -q "$2"
}
count "an unknown component has a reason" says kernel "no component kernel: use library, kernels or cuda_kernels"
older() {
  ! c++ -std=c++17 -fsyntax-only -I"$(dirname "$(find "$prefix" -path '*hybridhash/hybridhash.hpp')")/.." -x c++ - \
    <<<'#include <hybridhash/hybridhash.hpp>' 2>"$work/said" && grep -q "error: #error \"hybridhash.hpp needs C++20" "$work/said"
}
count "C++17 has a reason" older

# documented FENCE COMPILER...: the first block of docs/api.md that begins so is a program.
documented() {
  awk -v fence="\`\`\`$1" '$0 == fence { on = 1; next } /^```/ { if (on) exit } on' docs/api.md >"$work/documented"
  [ -s "$work/documented" ] && "${@:2}" -fsyntax-only -Wall -Wextra -Werror -I"$prefix/include" "$work/documented"
}
count "docs/api.md in C" documented c cc -x c
count "docs/api.md in C++" documented cpp c++ -std=c++20 -x c++
count "docs/api.md, kernels" documented "cpp kernels" c++ -std=c++20 -I"$(find "$prefix" -path '*kernels/attention' -printf '%h/..')" -x c++

by_pkg_config() {
  local flags
  flags=$(PKG_CONFIG_PATH=$lib/pkgconfig pkg-config --cflags --libs hybridhash) || return
  # shellcheck disable=SC2086
  cc "$work/sources/main.c" -o "$work/by_pkg_config" $flags -Wl,-rpath,"$lib" && "$work/by_pkg_config" "$work/index_pc"
}
count "pkg-config" by_pkg_config

# exports LIBRARY PATTERN LEAST: what it exports is at least that many symbols, all of them like that and under a version.
exports() {
  nm -D --defined-only "$lib/$1" | awk '$2 != "A" { print $3 }' >"$work/exported"
  ! grep -vE "$2" "$work/exported" && [ "$(wc -l <"$work/exported")" -ge "$3" ]
}
count "exported symbols" exports libhybridhash.so '^hh_[a-z_]*@@HYBRIDHASH_' 41

# The GPU's kernels, of a build that has them.
if [ -e "$lib/libhh_cuda.so" ]; then
  needs_no_cuda() {
    ldd "$prefix/bin/hybridhash" "$lib/libhybridhash.so" >"$work/needed" && lacks 'cuda|cublas' "$work/needed"
  }
  count "the program and the library start without CUDA" needs_no_cuda
  count "exported CUDA kernels" exports libhh_cuda.so \
    "^(hh_[a-z_]*|_ZN2hh3gpu(3run|15workspace_bytes)[EI].*)@@HH_CUDA_$version$" 150
  count "consumer cuda_kernels builds" consumer cuda_kernels
  if [ -e /dev/nvidiactl ]; then
    on_gpu=()
  else
    on_gpu=("$simulator" run --strict "--check=memory,init,race,sync,leak" --)
  fi
  if [ ${#on_gpu[@]} -eq 0 ] || [ -x "$simulator" ]; then
    count "consumer cuda_kernels runs" prints "11 33
1:0 3:1 0:4 " "${on_gpu[@]}" "$work/cuda_kernels/consumer"
  else
    echo "skipped: running the consumer of CUDA kernels, since there is neither a GPU nor ptxsim (set PTXSIM_HOME)"
  fi
else
  missing() {
    ! configure cuda_kernels cuda_kernels -DCMAKE_PREFIX_PATH="$prefix" >"$work/log" 2>&1 && grep -q cuda_kernels "$work/log"
  }
  count "CUDA kernels are missed" missing
fi

# The tree as a part of another project: the kernels alone, here with one op, look for nothing that the other layers need,
# and leave no flags of ours; whole, it has neither our program nor tests and benchmarks.
as_part() {
  configure kernels part -DTREE="$tree" -DHH_LIBRARY=OFF -DHH_OPS='^add$' -DCMAKE_EXPORT_COMPILE_COMMANDS=ON &&
    ninja -C "$work/part" && prints "11 33" "$work/part/consumer" &&
    lacks 'CLI11|spdlog|fmt_DIR|nlohmann|SQLite|JPEG|PNG|ZLIB|Catch2|httplib|tomlplusplus' "$work/part/CMakeCache.txt" &&
    python3 - "$work/part/compile_commands.json" <<'PY'
import json, sys
[flags] = [one["command"] for one in json.load(open(sys.argv[1])) if one["file"].endswith("sources/kernels.cpp")]
assert "-std=gnu++20" in flags, flags  # the standard comes with the target, their extensions stay
assert "-Wshadow" not in flags and "-fno-math-errno" not in flags, flags
PY
}
count "as a part: kernels" as_part
whole_part() {
  configure cpp whole -DTREE="$tree" && ninja -C "$work/whole" -t targets all >"$work/targets" &&
    grep -q 'libhybridhash.so' "$work/targets" &&
    lacks '(hh_[a-z]+_tests|hh_bench|hh_apps|bin/hybridhash):' "$work/targets" &&
    grep -q '^HH_WERROR:BOOL=OFF' "$work/whole/CMakeCache.txt"
}
count "as a part: the library" whole_part

if command -v valgrind >/dev/null; then
  count "consumer c in valgrind" valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite \
    env HH_SIMD=avx2 "$work/c/consumer" "$work/index_vg"
  count "consumer cpp in valgrind" valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite \
    env HH_SIMD=avx2 "$work/cpp/consumer" "$work/index_vg_cpp"
fi
echo "the consumers: $((SECONDS - started)) s"
finish

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Programs of others against an installed prefix: consumers_test.sh BUILD_FOLDER. In C, in C++, with the kernels alone, and by
# pkg-config; none sees this tree. The last line is "N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
. scripts/count.sh
build=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
count "install" cmake --install "$build" --prefix "$prefix"
# Moved: nothing in it may say where it was made.
mv "$prefix" "$work/elsewhere"
prefix=$work/elsewhere
cp -r tests/api/consumers "$work/sources"

consumer() {
  cmake -G Ninja -S "$work/sources" -B "$work/$1" -DWHICH="$1" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release &&
    ninja -C "$work/$1"
}
prints() {
  local wanted=$1 found
  shift
  found=$("$@") || return
  [ "$found" = "$wanted" ] || { echo "wanted: $wanted; found: $found"; return 1; }
}
version=$("$prefix/bin/hybridhash" --version)
for which in c cpp kernels; do
  count "consumer $which builds" consumer $which
done
count "consumer c runs" prints "1 0 2: 0 1 11
$version" "$work/c/consumer" "$work/index_c"
count "consumer cpp runs" prints "1 0 2 1 2" "$work/cpp/consumer" "$work/index_cpp"
count "consumer kernels runs" prints "11 33" "$work/kernels/consumer"

by_pkg_config() {
  local flags
  flags=$(PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name hybridhash.pc)") pkg-config --cflags --libs hybridhash) || return
  # shellcheck disable=SC2086
  cc "$work/sources/main.c" -o "$work/by_pkg_config" $flags -Wl,-rpath,"$(dirname "$(find "$prefix" -name libhybridhash.so)")" &&
    "$work/by_pkg_config" "$work/index_pc"
}
count "pkg-config" by_pkg_config

# Nothing but hh_* is exported, all of it under a version.
exported() {
  local odd
  odd=$(nm -D --defined-only "$prefix"/lib*/libhybridhash.so | awk '$2 != "A" { print $3 }' | grep -v '^hh_[a-z_]*@@HYBRIDHASH_')
  [ -z "$odd" ] || { echo "exported too: $odd"; return 1; }
}
count "exported symbols" exported
if command -v valgrind >/dev/null; then
  count "consumer c in valgrind" valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite \
    env HH_SIMD=avx2 "$work/c/consumer" "$work/index_vg"
fi
finish

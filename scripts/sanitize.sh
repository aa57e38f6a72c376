#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tests under sanitizers, and the fuzz targets. The last line is "N passed, N failed".
#   sanitize.sh asan [PART...] all tests, or those of kernel, engine, model, data, retrieval, pipeline, app, api, and
#                              the fuzz targets over their corpora, with the address and undefined-behaviour sanitizers
#   sanitize.sh tsan [PART...] what threads share with the thread sanitizer: kernel (parallel_for), data (loader),
#                              retrieval (index) and app (server), or those of them that are named
#   sanitize.sh memory         the decoders of images over their corpora in valgrind, which sees reads of what
#                              was never written; and it must see those of tests/fuzz/old_memory.cpp
#   sanitize.sh fuzz [SECONDS] each fuzz target that long (30) on new inputs too, by libFuzzer
set -uo pipefail
cd "$(dirname "$0")/.." || exit
. scripts/count.sh
kind=${1:-}
parts=("${@:2}")

# build PRESET TARGET...: or the end.
build() {
  count "build ($1)" scripts/build.sh "$@"
  [ "$failed" -eq 0 ] || finish
}

case $kind in
  asan)
    [ ${#parts[@]} -gt 0 ] || parts=(kernel engine model data retrieval pipeline app api)
    mapfile -t programs < <(printf 'hh_%s_tests\n' "${parts[@]}")
    build asan fuzz_targets "${programs[@]}"
    export UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=allocator_may_return_null=1
    for program in "${programs[@]}"; do
      catch "$program (asan)" build/asan/bin/"$program"
    done
    for target in build/asan/bin/fuzz_*; do
      name=$(basename "$target")
      count "$name" "$target" "tests/fuzz/corpus/${name#fuzz_}"
    done
    ;;
  tsan)
    # A forked child that begins threads is more than the sanitizer knows, and it holds back a signal while the server
    # waits in accept(): not the tests of that.
    [ ${#parts[@]} -gt 0 ] || parts=(kernel data retrieval app)
    mapfile -t programs < <(printf 'hh_%s_tests\n' "${parts[@]}")
    build tsan "${programs[@]}"
    export TSAN_OPTIONS="halt_on_error=1 suppressions=$PWD/tests/tsan.supp"
    declare -A shared=([kernel]="[parallel]~*fork*" [data]="[loader]" [retrieval]="[index]~[crash],[index_search]"
      [app]='[serve]~"*disk*"~"*signal*",[http],[compute],[tables],[thumbnails]')
    for part in "${parts[@]}"; do
      catch "hh_${part}_tests ${shared[$part]} (tsan)" build/tsan/bin/hh_"$part"_tests "${shared[$part]}"
    done
    ;;
  memory)
    preset=cpu
    [ -d build/cuda ] && preset=cuda
    decoders=(bmp gif jpeg png pnm tiff webp)
    build $preset old_memory "${decoders[@]/#/fuzz_}"
    # The control: a decoder with this fault is found, and by that and nothing else.
    fails_by_old_memory() {
      local log status
      log=$(valgrind -q --error-exitcode=9 build/$preset/bin/old_memory tests/fuzz/corpus/bmp 2>&1)
      status=$?
      echo "$log"
      [ $status -eq 9 ] && grep -q "depends on uninitialised value" <<<"$log"
    }
    count "a decoder that reads old memory fails (valgrind)" fails_by_old_memory
    for name in "${decoders[@]}"; do
      count "$name (valgrind)" valgrind -q --error-exitcode=9 build/$preset/bin/fuzz_"$name" tests/fuzz/corpus/"$name"
    done
    ;;
  fuzz)
    build fuzz fuzz_targets
    for target in build/fuzz/bin/fuzz_*; do
      name=$(basename "$target")
      work=$(mktemp -d)
      count "$name" "$target" -max_total_time="${2:-30}" -timeout=60 -rss_limit_mb=4096 "$work" \
        "tests/fuzz/corpus/${name#fuzz_}"
      rm -rf "$work"
    done
    ;;
  *) echo "scripts/sanitize.sh: asan, tsan, memory or fuzz, not '$kind'" >&2; exit 2 ;;
esac
finish

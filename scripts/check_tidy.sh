#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# clang-tidy (.clang-tidy) over the layers above kernels/, in parallel. Prints what it finds. Left out: CUDA's side and nanobind's,
# whose headers are other compilers', and tests/ and bench/, whose frameworks' macros it takes for faults of ours.
#   check_tidy.sh BUILD_FOLDER [SOURCE...]    all sources of the layers if none is named
set -uo pipefail
cd "$(dirname "$0")/.." || exit
build=$1
shift
[ $# -gt 0 ] || set -- $(git ls-files 'engine/*.cpp' 'model/*.cpp' 'data/*.cpp' 'retrieval/*.cpp' 'pipeline/*.cpp' 'api/*.cpp' 'apps/*.cpp')
# GCC's names of warnings are unknown to clang; CUDA's side needs the toolkit's headers.
printf '%s\n' "$@" | grep -vE '^(engine/device/cuda|api/python)/' |
  xargs -P "$(nproc)" -n 4 clang-tidy --quiet -p "$build" --extra-arg=-Wno-unknown-warning-option 2>&1 |
  grep -vE '^[0-9]+ warnings? (generated|treated as errors?)|^Suppressed|^Use -header-filter'
exit "${PIPESTATUS[2]}"

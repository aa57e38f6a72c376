#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A build of one op (HH_OPS) links its kernel tests and passes them. In a folder that is kept, and
# beside the other builds, so that ccache has most of it.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=build/one_op
cmake --preset cpu -B $build -DHH_OPS='^add$' -DHH_BENCH=OFF >/dev/null
if ! CCACHE_NOHASHDIR=1 cmake --build $build --target hh_kernel_tests -- -j"$(nproc)" >$build/log 2>&1; then
  tail -n 20 $build/log
  exit 1
fi
tests=$($build/bin/hh_kernel_tests --list-test-names-only || true)
grep -q '^add agrees' <<<"$tests"
! grep -q '^hamming' <<<"$tests"
$build/bin/hh_kernel_tests

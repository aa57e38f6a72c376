#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every C++ and CUDA source is as clang-format (Debian 12's, 14) writes it. Prints where one isn't.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
git ls-files -z '*.h' '*.cpp' '*.cu' '*.cuh' | xargs -0 clang-format --dry-run --Werror

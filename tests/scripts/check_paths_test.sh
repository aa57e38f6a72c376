#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# scripts/check_paths.sh, on lines that it must and must not find.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/docs/deep" "$folder/build"
bad=0

# expect STATUS FILE LINE: the check of a tree with this line alone.
expect() {
  echo "$3" >"$folder/$2"
  scripts/check_paths.sh "$folder" >/dev/null
  local status=$?
  [ $status -eq "$1" ] || { echo "$2: $3: exit status $status, not $1"; bad=1; }
  rm "$folder/$2"
}

expect 1 run.sh 'cat ../shared/goldens/x.json'
expect 1 docs/deep/a.md 'see [x](../../../other/x.md)'
expect 1 docs/a.md 'see [inside](../README.md) and [outside](../../README.md)'
expect 1 a.cpp 'open("/home/somebody/x")'
expect 0 docs/a.md 'see [x](../README.md)'
expect 0 docs/deep/a.md 'see [x](../../docs/a.md)'
expect 0 docs/a.md 'the simulator: PTXSIM_HOME or ../shared/ptxsim'
expect 0 build/a.txt '../shared/goldens'
expect 0 a.cpp 'open("/tmp/x"), open("https://host/home/x")'
exit $bad

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Configures and builds a preset: scripts/build.sh PRESET [TARGET...]. Quiet unless something fails.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1
shift
folder=build/$preset
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Newly installed packages may change what can be built.
if [ ! -f "$folder/build.ninja" ] || [ /var/lib/dpkg/status -nt "$folder/build.ninja" ]; then
  if ! cmake --preset "$preset" >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    exit 1
  fi
fi
if ! ninja -C "$folder" "$@" >"$log" 2>&1; then
  grep -E -A 30 'FAILED|rror' "$log" | head -n 120 >&2 || tail -n 40 "$log" >&2
  exit 1
fi

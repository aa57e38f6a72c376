#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# docs/systemd/ by systemd-analyze verify: systemd_test.sh PROGRAM. Skipped where that isn't there. The last line is "N passed, N failed".
set -uo pipefail
program=$(realpath "$1")
cd "$(dirname "$0")/../.." || exit
. scripts/count.sh
if ! command -v systemd-analyze >/dev/null; then
  echo "skipped: docs/systemd, since systemd-analyze is not installed"
  passed=1
  finish
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for unit in docs/systemd/*; do sed "s|/usr/bin/hybridhash|$program|" "$unit" >"$folder/$(basename "$unit")"; done
# What it says of other units, or of a manual that isn't there, is none of ours.
verified() { systemd-analyze verify --man=no "$folder/$1" 2>&1 | tee "$folder/said"; ! grep "$1" "$folder/said"; }
count "hybridhash.service" verified hybridhash.service
count "hybridhash.socket" verified hybridhash.socket
sed -i 's/^ListenStream/ListenStreams/' "$folder/hybridhash.socket"
count "what is wrong is found" bash -c "! { $(declare -f verified); folder='$folder'; verified hybridhash.socket; }"
# Its options are the program's.
for option in $(grep -oE -- '--[a-z-]+' docs/systemd/hybridhash.service); do
  count "$option" bash -c "'$program' serve --help | grep -q -- '$option'"
done
finish

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A clone is whole: prints the lines that name a path outside the repository. Two may: documentation of the simulator
# (PTXSIM_HOME), which is not part of it, and .ci/run, which uses what lies beside its checkout.
#   check_paths.sh [FOLDER]    the repository, or another folder
set -uo pipefail
cd "${1:-$(dirname "$0")/..}" || exit

# Every line with a path, as FILE:LINE:TEXT, without what is built or not ours.
lines() {
  grep -rnIE "$1" . --exclude-dir=.git --exclude=.git --exclude-dir='build*' --exclude-dir=runs --exclude-dir='.venv*' \
    --exclude-dir=__pycache__ | sed 's#^\./##' | grep -vE '^(\.ci/run|scripts/check_paths\.sh|tests/scripts/check_paths_test\.sh):'
}

outside=$({
  # A folder beside the checkout, or a place of one machine only.
  lines '\.\./shared|(^|[^A-Za-z0-9_./~])/(work|home|root|Users)/'
  # More steps up than the file lies deep.
  lines '(^|[^A-Za-z0-9_/.])(\.\./)+' | awk -F: '{
    file = $1
    depth = gsub("/", "/", file)
    text = $0
    sub(/^[^:]*:[^:]*:/, "", text)
    while (match(text, /(\.\.\/)+/)) {
      if (RLENGTH / 3 > depth) { print; break }
      text = substr(text, RSTART + RLENGTH)
    }
  }'
} | grep -viE 'ptxsim' | sort -u)
[ -z "$outside" ] && exit 0
echo "paths outside the repository:"
echo "$outside"
exit 1

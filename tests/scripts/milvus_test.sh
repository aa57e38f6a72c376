#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/engines/milvus_test.py with a Milvus from PyPI: milvus_test.sh PROGRAM [TEST...]. The last line is "N passed, N failed". What
# isn't there is skipped with the reason. HH_MILVUS_PYTHON: a Python that has tests/engines/milvus_requirements.txt.
set -uo pipefail
program=$(realpath "$1")
shift
cd "$(dirname "$0")/../.." || exit
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

skip() {
  echo "skipped: Milvus, since $1"
  echo "1 passed, 0 failed"
  exit 0
}
[ -e "$(dirname "$program")/libhh_milvus.so" ] || skip "libgrpc++-dev or protobuf-compiler-grpc isn't installed (scripts/install.sh engines)"
python=${HH_MILVUS_PYTHON:-$work/venv/bin/python}
if [ -z "${HH_MILVUS_PYTHON:-}" ] && ! { python3 -m venv "$work/venv" &&
  "$python" -m pip install -q -r tests/engines/milvus_requirements.txt; } >"$work/log" 2>&1; then
  skip "an environment can't be made or PyPI can't be reached"
fi
export PYTHONDONTWRITEBYTECODE=1
"$python" tests/engines/milvus_test.py "$program" "$@"

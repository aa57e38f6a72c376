#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The Python package in a fresh environment: pip install ., its tests, and docs/python.md's code. The last line is
# "N passed, N failed". Without PyPI nothing can be built: it says so and passes one.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
. scripts/count.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$work/venv/bin/python
if ! python3 -m venv "$work/venv" ||
  ! "$python" -m pip install -q nanobind scikit-build-core ninja numpy pillow pytest >"$work/log" 2>&1; then
  echo "skipped: the Python package, since an environment can't be made or PyPI can't be reached"
  passed=1
  finish
fi
# By the name that the other builds call it, so that ccache has their results.
export CXX=c++
count "pip install" "$python" -m pip install -q --no-build-isolation --no-deps .
# Away from the tree, whose folders would be found first.
tests=$PWD/tests/api/python
cd "$work" || exit
count "package" "$python" -m pytest -q -p no:cacheprovider "$tests/package_test.py"
count "docs/python.md" "$python" "$tests/docs_test.py"
count "command" "$work/venv/bin/hybridhash" --version
finish

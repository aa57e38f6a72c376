#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the program, makes a throw-away Python environment with PyTorch (.venv-torch, about 1 GB), checks that
# the PyTorch network is the same one, and compares speed and memory. Arguments go to compare.py.
set -euo pipefail
cd "$(dirname "$0")/../.."
program=$(./quickstart.sh --build-only | tail -n 1)
venv=${HH_TORCH_VENV:-.venv-torch}
if [ ! -x "$venv/bin/python" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet torch numpy
fi
"$venv/bin/python" bench/torch/check_torch.py
exec "$venv/bin/python" bench/torch/compare.py "$program" "$@"

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds our side, makes a throw-away Python environment with FAISS (.venv-faiss), and compares exact search on
# the same codes, answers included. Arguments go to compare.py.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -z "${HH_SEARCH_CODES:-}" ]; then
  scripts/build.sh cpu hh_search_codes
  HH_SEARCH_CODES=build/cpu/bin/hh_search_codes
fi
venv=${HH_FAISS_VENV:-.venv-faiss}
if [ ! -x "$venv/bin/python" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet faiss-cpu numpy
fi
exec "$venv/bin/python" bench/faiss/compare.py "$HH_SEARCH_CODES" "$@"

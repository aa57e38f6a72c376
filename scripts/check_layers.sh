#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Who may include whom: each layer only those to its left. Prints the lines that break the rule.
set -uo pipefail
cd "$(dirname "$0")/.."
status=0
# check FOLDER LAYERS...: files of FOLDER may include headers of these folders only.
check() {
  local folder=$1 allowed
  shift
  allowed=$(IFS='|'; echo "$*")
  if grep -rnE '#include "' "$folder" --include='*.h' --include='*.cpp' --include='*.cu' --include='*.cuh' |
    grep -vE "#include \"($allowed)/" | grep -vE '#include "hwy/'; then
    echo "$folder/ may include only: $*"
    status=1
  fi
}
check kernels kernels
check engine engine kernels
check model model engine kernels
check data data engine kernels
check retrieval retrieval engine kernels
check apps apps model data retrieval engine kernels
exit $status

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Who may include whom: each layer only those to its left, a family of kernels no other family but
# core/ and gemm/. Every source lies in a folder of its subject. Kernels don't allocate. Prints what
# breaks a rule.
set -uo pipefail
cd "$(dirname "$0")/.."
status=0

# includes FOLDER: file:line:header of each of our headers that its sources include.
includes() {
  grep -rnE '#include "' "$1" --include='*.h' --include='*.cpp' --include='*.cu' --include='*.cuh' |
    sed -E 's/^([^:]+:[0-9]+):.*#include "([^"]+)".*/\1:\2/' | grep -v ':hwy/'
}

# check FOLDER ALLOWED...: its sources include headers of these folders only.
check() {
  local folder=$1 allowed
  shift
  allowed=$(IFS='|'; echo "$*")
  if includes "$folder" | grep -vE ":($allowed)/"; then
    echo "$folder/ may include only: $*"
    status=1
  fi
}
check kernels/core kernels/core
check kernels/gemm kernels/core kernels/gemm
for family in kernels/*/; do
  check "${family%/}" kernels/core kernels/gemm "${family%/}"
done
check engine engine kernels
check model model engine kernels
check data data engine kernels
check retrieval retrieval engine kernels
check pipeline pipeline model data retrieval engine kernels
check api api pipeline model data retrieval engine kernels
check apps apps pipeline model data retrieval engine kernels

# subjects LAYER FOLDER...: the layer's sources lie in these folders, and the other way round.
subjects() {
  local layer=$1 wanted found
  shift
  wanted=$(printf '%s\n' "$@" | sort)
  found=$(find "$layer" -mindepth 2 \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' \) -printf '%P\n' |
    cut -d/ -f1 | sort -u)
  if [ "$wanted" != "$found" ]; then
    echo "$layer/ holds the folders: $(echo $found); the list in $0 says: $*"
    status=1
  fi
  if find "$layer" -maxdepth 1 \( -name '*.h' -o -name '*.cpp' \) ! -name main.cpp | grep .; then
    echo "$layer/: a source belongs in one of its folders"
    status=1
  fi
}
subjects engine device distributed tensor ops optim files text
subjects model hybridhash training
subjects data cache images sets streams experiments
subjects retrieval codes files index search metrics engines
subjects apps commands serve verify report terminal

# Kernels work in memory that the caller lends them. What is left: text (of errors, names of
# instruction sets), the team's threads, and what oneDNN, cuBLASLt and cuDNN want for
# their own objects, which are kept.
allocates='std::(vector|deque|list|map|set|unordered_\w+|function|make_(unique|shared)|unique_ptr)\b'
allocates+='|\b(new|malloc|calloc|realloc|aligned_alloc|cudaMalloc\w*|AllocateAligned)\b *[(A-Za-z]|push_back|emplace'
if grep -rnP "^(?!\s*//)(?!.*// .*\b(new)\b).*($allocates)" kernels | grep -vE '^kernels/(core/(parallel|simd|team)\.cpp|core/(simd|label_bits|team)\.h|gemm/(onednn(_int8|_product)?\.(h|cpp)|plan_store\.cuh|gemm_cublaslt\.cu)|conv/(cudnn\.cu|conv2d_cpu\.cpp)):'; then
  echo "kernels/ never allocate: take it from the workspace (kernels/core/workspace.h)"
  status=1
fi
exit $status

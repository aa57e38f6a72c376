#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every C, C++ and CUDA source is as clang-format (Debian 12's, 14) writes it, and every source names its licence in its first
# lines. Prints where one isn't, or doesn't.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
status=0
git ls-files -z '*.h' '*.c' '*.hpp' '*.cpp' '*.cu' '*.cuh' | xargs -0 clang-format --dry-run --Werror || status=1
nameless=$(git ls-files -z '*.h' '*.c' '*.hpp' '*.cpp' '*.cu' '*.cuh' '*.in' '*.py' '*.pyi' '*.sh' '*.cmake' '*CMakeLists.txt' '*.toml' '*.html' \
  '*.css' '*.js' '*.rst' '*.supp' .ci/run Dockerfile | xargs -0 awk 'FNR <= 5 && /SPDX-License-Identifier: Apache-2.0/ { named[FILENAME] }
    FNR == 1 { seen[FILENAME] } END { for (file in seen) if (!(file in named)) print file }')
if [ -n "$nameless" ]; then
  echo "without a line SPDX-License-Identifier: Apache-2.0:"
  echo "$nameless"
  status=1
fi
exit $status

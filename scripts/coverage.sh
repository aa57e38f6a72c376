#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Which lines the tests run, by folder, as a Markdown table (docs/coverage.md holds one). CPU only; the GPU side runs in
# the simulator, which counts nothing. Needs gcovr (apt-get install gcovr).
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh coverage
find build/coverage -name '*.gcda' -delete
for program in build/coverage/bin/hh_*_tests; do
  "$program" >build/coverage/"$(basename "$program")".log || echo "$(basename "$program") failed" >&2
done
gcovr --root . --object-directory build/coverage --json-summary build/coverage/summary.json --exclude 'tests/' \
  --gcov-ignore-parse-errors -j "$(nproc)" >/dev/null
python3 - <<'END'
import collections, json
folders = collections.defaultdict(lambda: [0, 0, 0])
for f in json.load(open("build/coverage/summary.json"))["files"]:
    parts = f["filename"].split("/")
    folder = "/".join(parts[:2]) + "/" if len(parts) > 2 else parts[0] + "/"
    t = folders[folder]
    t[0] += 1; t[1] += f["line_covered"]; t[2] += f["line_total"]
print("| folder | files | lines | run by tests |\n|---|---|---|---|")
for name, (files, run, lines) in sorted(folders.items()):
    print(f"| {name} | {files} | {lines} | {100 * run / max(lines, 1):.1f} % |")
total = [sum(t[i] for t in folders.values()) for i in range(3)]
print(f"| all | {total[0]} | {total[2]} | {100 * total[1] / max(total[2], 1):.1f} % |")
END

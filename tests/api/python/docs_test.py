# SPDX-License-Identifier: Apache-2.0
"""docs/python.md, its code run from top to bottom: docs_test.py. A block that says so (```python torch) is left out where that
package isn't installed; with --all that fails."""

import importlib.util
import os
import pathlib
import re
import sys
import tempfile

page = pathlib.Path(__file__).parents[3] / "docs/python.md"
blocks, wanted, left_out = [], set(), set()
for packages, code in re.findall(r"^```python\b([^\n]*)\n(.*?)^```", page.read_text(), re.M | re.S):
    absent = {package for package in packages.split() if importlib.util.find_spec(package) is None}
    wanted |= set(packages.split())
    left_out |= absent
    if not absent:
        blocks.append(code)
assert wanted == {"faiss", "torch"} and not ("--all" in sys.argv and left_out), f"not installed: {left_out}"
assert len(blocks) >= 5, f"{page}: {len(blocks)} blocks of code"
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    made = {}
    exec(compile("\n".join(blocks), str(page), "exec"), made)
    assert pathlib.Path("results.png").stat().st_size > 100
    assert all(name.startswith("red/") for name in made["names"]), f"a red photograph found {made['names']}"
    assert made["result"]["map"] > 0.99, made["result"]
    os.chdir("/")
print("ok" + "".join(f", without the blocks of {package}" for package in sorted(left_out)))

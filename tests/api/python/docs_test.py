# SPDX-License-Identifier: Apache-2.0
"""docs/python.md, its code run from top to bottom: docs_test.py"""

import os
import pathlib
import re
import tempfile

page = pathlib.Path(__file__).parents[3] / "docs/python.md"
blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
assert len(blocks) >= 5, f"{page}: {len(blocks)} blocks of code"
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    exec(compile("\n".join(blocks), str(page), "exec"), {})
    assert pathlib.Path("results.png").stat().st_size > 100
    os.chdir("/")
print("ok")

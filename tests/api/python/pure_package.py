# SPDX-License-Identifier: Apache-2.0
"""Imports hybridhash for tests of its modules without compiled parts: where it isn't installed, from the tree."""

import importlib.util
import pathlib
import sys
import types

COMPILED = importlib.util.find_spec("hybridhash") is not None
if not COMPILED:
    package = types.ModuleType("hybridhash")
    package.__path__ = [str(pathlib.Path(__file__).parents[3] / "api/python/hybridhash")]
    sys.modules["hybridhash"] = package

GOLDENS = pathlib.Path(__file__).parents[2] / "goldens"

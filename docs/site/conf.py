# SPDX-License-Identifier: Apache-2.0
"""Sphinx's settings for the site that scripts/site.sh makes."""

import os
import re
import sys
import types
from unittest.mock import MagicMock

project = "HybridHash"
copyright = "the HybridHash authors, Apache-2.0"
html_theme = "furo"
html_title = "HybridHash"
html_show_sphinx = False
html_copy_source = False
extensions = ["myst_parser", "sphinx.ext.autodoc", "breathe"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
myst_heading_anchors = 6  # as GitHub makes them
breathe_projects = {"hybridhash": os.environ["HH_DOXYGEN_XML"]}
breathe_default_project = "hybridhash"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
highlight_language = "text"
nitpicky = False
# "python torch" names what a block of docs/python.md needs; a shell's block is ```sh.
suppress_warnings = ["misc.highlighting_failure"]

try:
    import torch  # noqa: F401
except ImportError:  # its operators are described without it
    torch = MagicMock(__version__="2.6")
    torch.nn = types.ModuleType("torch.nn")
    for name in ("Module", "Conv2d", "Linear", "LayerNorm", "ModuleList", "Parameter"):
        setattr(torch.nn, name, type(name, (), {"__module__": "torch.nn"}))
    torch.nn.functional = MagicMock()
    torch.Tensor = type("Tensor", (), {"__module__": "torch"})
    sys.modules.update({"torch": torch, "torch.nn": torch.nn, "torch.nn.functional": torch.nn.functional})


def _escaped(text):
    """As reStructuredText, which ``code`` already is."""
    return "".join(part if i % 2 else re.sub(r"([*_|\\`])", r"\\\1", part)
                   for i, part in enumerate(re.split(r"(``[^`]+``)", text)))


def _table(paragraph):
    """Lines of "name   what it is", continued by indented ones, as a list of definitions; None for other text."""
    rows = []
    for line in paragraph:
        row = re.match(r"(\S(?:.*?\S)?) {2,}(\S.*)", line)
        if row:
            rows.append([row[1], row[2]])
        elif rows and line.startswith("  "):
            rows[-1][1] += " " + line.strip()
        else:
            return None
    return [line for name, text in rows for line in (f"``{name}``", f"    {_escaped(text)}")]


def _docstring(app, what, name, thing, options, lines):
    """Docstrings are plain text: paragraphs, examples that are indented, tables of names."""
    paragraphs, made = [[]], []
    for line in lines:
        if line.strip():
            paragraphs[-1].append(line)
        elif paragraphs[-1]:
            paragraphs.append([])
    for paragraph in filter(None, paragraphs):
        first = next((i for i, line in enumerate(paragraph) if re.match(r"\S(?:.*?\S)? {2,}\S", line)), len(paragraph))
        table = _table(paragraph[first:]) if first < len(paragraph) else None
        if all(line.startswith("    ") for line in paragraph):
            made += ["::", "", *paragraph, ""]
            continue
        text = paragraph if table is None else paragraph[:first]
        made += [_escaped(" ".join(line.strip() for line in text)), ""]
        made += [*(table or []), ""]
    lines[:] = made


def setup(app):
    app.connect("autodoc-process-docstring", _docstring)

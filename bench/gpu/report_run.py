# SPDX-License-Identifier: Apache-2.0
"""Reads what run.sh left in its folder, however much of it there is."""
import csv
import json
import re
from pathlib import Path

SIZES = ["10M", "100M", "1G"]
SEARCHES = [f"{size}_{queries}" for size in SIZES for queries in (1, 1000)]
# In the order of the page. verify_CASE_DTYPE come on top, one for each reference case that the bundle had.
PARTS = {
    "machine": ["info", "libraries"],
    "correctness": ["smoke", "jit_cold", "jit_warm", "kernels_attention", "kernels_products", "kernels_search", "kernels_rest",
                    "engine", "model", "conv_without_cudnn", "racecheck", "memcheck", "initcheck", "racecheck_attention",
                    *(f"codes_{size}" for size in SIZES)],
    "timings": ["torch", "torch_compile", "torch_compile_encode", "train64", "train64_again", "train64_no_graph", "train256",
                "train64_f32", "encode8", "encode64", "encode256", "lt_probe", "hamming",
                *(f"scan_{size}" for size in SIZES),
                *(f"search_{case}" for case in SEARCHES), "kernels"],
    "counters": ["ncu_step", *(f"ncu_search_{case}" for case in SEARCHES), "ncu_top"],
}
FIELDS = ["phase", "name", "status", "exit", "seconds", "limit", "summary"]


class Run:
    """facts: machine.tsv. parts: by name. bench: by part. torch: by configuration. verify: by "case.dtype". products, hamming,
    kernels: rows. searches: (codes, queries, seconds). cut: files whose end is missing, since the run was ended while it wrote them."""

    def __init__(self, folder):
        self.folder, self.cut = Path(folder), []
        self.facts = dict(row for row in self._rows("machine.tsv") if len(row) == 2)
        self.parts = {row[1]: dict(zip(FIELDS, row)) for row in self._rows("parts.tsv") if len(row) == len(FIELDS)}
        self.bench = {r["part"]: r for r in self._json_lines("bench.jsonl")}
        self.torch = {r["config"]: r for r in self._json_lines("torch.jsonl")}
        self.hamming, self.kernels = self._json_lines("hamming.jsonl"), self._json_lines("kernels.jsonl")
        rows = self._rows("lt_probe.tsv")
        self.products = [dict(zip(rows[0], row)) for row in rows[1:] if len(row) == len(rows[0])] if rows else []
        self.searches = [(int(row[0]), int(row[1]), float(row[2])) for row in self._rows("search.tsv") if len(row) == 3]
        self.verify = {path.stem: self._json(path) for path in sorted((self.folder / "verify").glob("*.json"))}
        self.verify = {name: case for name, case in self.verify.items() if case}

    @property
    def simulated(self):
        return self.facts.get("simulated") != "false"

    def missing(self):
        """(part, why) for each part without a result."""
        out = [(p["name"], p["status"] + (": " + p["summary"] if p["summary"] else ""))
               for p in self.parts.values() if p["status"] != "passed"]
        only = self.facts.get("only", ".")
        named = [name for names in PARTS.values() for name in names if name not in self.parts]
        return out + [(name, "the run ended before it" if re.search(only, name) else f"left out by --only {only}") for name in named]

    def _text(self, name):
        path = self.folder / name
        return path.read_text(errors="replace") if path.is_file() else ""

    def _rows(self, name):
        whole, _, rest = self._text(name).rpartition("\n")
        if rest:
            self.cut.append(name)
        return list(csv.reader(whole.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))

    def _json_lines(self, name):
        out = []
        for line in self._text(name).splitlines():
            try:
                out.append(json.loads(line))
            except ValueError:
                self.cut.append(name)
        return out

    def _json(self, path):
        try:
            return json.loads(path.read_text())
        except ValueError:
            self.cut.append(f"verify/{path.name}")
            return None

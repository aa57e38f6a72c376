# SPDX-License-Identifier: Apache-2.0
"""Kernels of a training step as Nsight Compute measured them, beside what a simulator's profile estimated and counted."""
import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path

LIBRARIES = "cuBLASLt, cuDNN"
UNITS = {"second": 1e6, "s": 1e6, "msecond": 1e3, "ms": 1e3, "usecond": 1, "us": 1, "nsecond": 1e-3, "ns": 1e-3,
         "byte": 1, "B": 1, "Kbyte": 1e3, "KB": 1e3, "Mbyte": 1e6, "MB": 1e6, "Gbyte": 1e9, "GB": 1e9}


@dataclass
class Sum:
    """Of all launches of a kernel or a family: microseconds, bytes of DRAM, operations (which only the simulator counts)."""
    launches: int = 0
    us: float = 0.0
    bytes: float = 0.0
    flops: float = 0.0

    def add(self, us, moved, flops=0.0, launches=1):
        self.launches += launches
        self.us += us
        self.bytes += moved
        self.flops += flops


def families(root):
    """The folder of kernels/ that has each kernel, by the kernel's name."""
    found = {}
    for path in sorted(Path(root).glob("kernels/*/*.cu*")):
        for kernel in re.findall(r"__global__[^;{]*?\b(\w+_kernel)\s*\(", path.read_text()):
            found[kernel] = path.parent.name
    return found


def kernel_name(text, known):
    """Of ours without template arguments, since demanglers differ in these; all of the libraries' are one."""
    for word in re.findall(r"\w+_kernel\b", text):
        if word in known:
            return word
    return "cub" if "cub::" in text else LIBRARIES


def measured(path, known):
    """Sums by kernel name of an `ncu --csv --page raw` file: a line of names, a line of units, a line a launch."""
    with open(path, newline="", errors="replace") as f:
        lines = [line for line in f if line.startswith('"')]
    rows = csv.DictReader(lines)
    units = next(rows, None)

    def value(row, key):
        return float(row[key].replace(",", "")) * UNITS[units[key]]
    out = {}
    for row in rows:
        try:
            us = value(row, "gpu__time_duration.sum")
            moved = value(row, "dram__bytes_read.sum") + value(row, "dram__bytes_write.sum")
        except (KeyError, ValueError, AttributeError):  # a line cut short, or a counter that this GPU doesn't give ("n/a")
            continue
        out.setdefault(kernel_name(row["Kernel Name"], known), Sum()).add(us, moved)
    return out


def estimated(path, known):
    """(sums by kernel name, the GPU, DRAM bytes a microsecond that the model assumes) of a `ptxsim run --profile` file. Times are
    ESTIMATES without launches, bytes those that must move at least once, operations counted."""
    with open(path) as f:
        records = [json.loads(line) for line in f]
    ours = [r for r in records if r["kind"] == "kernel"]
    out, rate, gpu = {}, 0.0, ours[0]["gpu"] if ours else "h100"
    for r in ours:
        out.setdefault(kernel_name(r["name"], known), Sum()).add(
            r["model_us"] - r["model_launch_us"], r["dram_bytes_compulsory"], r["flops"] + r["tensor_flops"])
        if r["model_resource_us"]["dram"] > 0:
            rate = max(rate, r["dram_bytes_compulsory"] / r["model_resource_us"]["dram"])
    for r in records:
        if r["kind"] == "library":  # estimated for every GPU
            out.setdefault(LIBRARIES, Sum()).add(r["model_us"][gpu], r["bytes"], r["flops"])
    return out, gpu, rate


def by_family(sums, known):
    out = {}
    for name, s in sums.items():
        out.setdefault(known.get(name, name), Sum()).add(s.us, s.bytes, s.flops, s.launches)
    return out

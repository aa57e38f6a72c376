# SPDX-License-Identifier: Apache-2.0
"""An index of 100,000,000 codes of 64 bits on this machine: large.py HYBRIDHASH [--rows 100000000] [--folder DIR]
[--parts build,search,serve] [--seconds S] [--quick].

Building, opening (with its files in memory, and read from the disk anew), one query and 1,000 by scan and by tables,
and the server under bench/serve/load.py by either. Needs 24 bytes a code of disk, some 60 of memory. Codes lie around
1,000 centres, each bit flipped with probability 1/8. Peak memory counts the mapped files, as the system does. DIR
keeps codes and index for the next time; otherwise they go. --quick: 1,000,000 codes, a quarter of a minute."""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LOAD = Path(__file__).parent.parent / "serve" / "load.py"


def write_codes(path, rows, seed):
    centres = np.random.default_rng(999).integers(0, 2**64, 1000, dtype=np.uint64)
    rng = np.random.default_rng(seed)
    codes = np.lib.format.open_memmap(path, "w+", np.uint8, (rows, 8))
    for begin in range(0, rows, 1_000_000):
        n = min(1_000_000, rows - begin)
        a, b, c = rng.integers(0, 2**64, (3, n), dtype=np.uint64)
        codes[begin : begin + n] = (centres[rng.integers(0, 1000, n)] ^ (a & b & c)).view(np.uint8).reshape(n, 8)


class Run:
    """A command to its end: seconds, CPU seconds, peak memory in MiB, and what it printed."""

    def __init__(self, *words):
        start = time.perf_counter()
        with subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            self.text = process.stdout.read().decode()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(map(str, words))}: exit status {process.returncode}")
        self.seconds = time.perf_counter() - start
        self.cpu, self.mib = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024

    def __str__(self):
        return f"{self.seconds:8.2f} s, {self.cpu:7.2f} s of CPU time, peak {self.mib:6.0f} MiB"


def forget(folder):
    """Takes the files out of the system's memory, so that they are read again."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def search(a, index, *words):
    run = Run(a.program, "search", "--index", index, "--codes", a.folder / "q.npy", "-k", 10, "--device", "cpu", "--json", *words)
    return json.loads(run.text.splitlines()[-1]), run


def searches(a, index):
    for threads in (1, 2):
        few = [search(a, index, "--sample", 1, "--seed", seed, "--method", "scan", "--threads", threads) for seed in range(5)]
        alone = sorted(answer["search_seconds"] for answer, _ in few)
        print(f"one query by scan, {threads} threads    {1e3 * alone[2]:8.1f} ms (median of 5), the command {few[0][1]}")
    methods = {}
    for method in ("scan", "multi-index"):
        answer, run = search(a, index, "--method", method)
        built = f", tables built in {answer['build_seconds']:.1f} s" if "build_seconds" in answer else ""
        print(f"1,000 queries by {method:12}  {answer['search_seconds']:8.2f} s{built}; the command {run}")
        methods[method] = [[found["distance"] for found in one["results"]] for one in answer["results"]]
    if methods["scan"] != methods["multi-index"]:
        raise SystemExit("scan and multi-index differ")


def serve(a, index, method):
    words = [str(a.program), "serve", "--index", str(index), "--port", "0", "--device", "cpu", "--method", method]
    start = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            line = server.stdout.readline()
            url = re.search(r"http://\S+", line).group().rstrip("/")
            print(f"server, {method}: answers after {time.perf_counter() - start:.1f} s")
            words = [LOAD, url, "--clients", "4", "--requests", "2000", "--seconds", str(a.seconds)]
            subprocess.run([sys.executable, *words], check=True)
            resident = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.pid}/status").read_text()).group(1)
            print(f"server, {method}: peak {int(resident) / 1024:.0f} MiB", flush=True)
        finally:
            server.terminate()


def measure(a):
    print(f"{a.rows} codes of 64 bits, load {Path('/proc/loadavg').read_text()[:14]}", flush=True)
    codes, index = a.folder / "db.npy", a.folder / "index"
    if not codes.exists():
        write_codes(codes, a.rows, 1)
        write_codes(a.folder / "q.npy", 1000, 2)
    if "build" in a.parts:
        build(a, codes, index)
    if "search" in a.parts:
        searches(a, index)
    for method in ("scan", "multi-index") if "serve" in a.parts else ():
        serve(a, index, method)
    print(f"load {Path('/proc/loadavg').read_text()[:14]}")


def build(a, codes, index):
    print(f"index build              {Run(a.program, 'index', 'build', '--codes', codes, '--out', index, '--overwrite')}")
    for turn in range(3):
        print(f"index info, in memory    {Run(a.program, 'index', 'info', index)}")
    forget(index)
    print(f"index info, from disk    {Run(a.program, 'index', 'info', index)}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("program", type=Path)
    p.add_argument("--rows", type=int, default=100_000_000)
    p.add_argument("--folder", type=Path)
    p.add_argument("--parts", default="build,search,serve", help="build is the first, with --folder once for all")
    p.add_argument("--seconds", type=float, default=15, help="of each load on the server")
    p.add_argument("--quick", action="store_true")
    a = p.parse_args()
    if a.quick:
        a.rows = 1_000_000
    if a.folder:
        a.folder.mkdir(parents=True, exist_ok=True)
        return measure(a)
    with tempfile.TemporaryDirectory() as a.folder:
        a.folder = Path(a.folder)
        measure(a)


if __name__ == "__main__":
    main()

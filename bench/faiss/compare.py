# SPDX-License-Identifier: Apache-2.0
"""Exact search of HybridHash and of FAISS's IndexBinaryFlat on the same codes: compare.py SEARCH_CODES [--rows N]
[--bits 64,128,256] [--threads 1,2] [--rounds R] [--index ROWS] [--map] [--json OUT].

Codes lie around random centres (1000, each bit flipped with probability 0.1); queries are drawn likewise, and none of
them is in the database by construction. The two take turns, so that both meet the same machine; FAISS's time is that
of the better of its two methods (heap, counting). Times are wall-clock seconds, the least and the median, and beside
them the CPU time, which says more on a machine that others use too. HH_SIMD=avx2 or baseline holds FAISS to the same
instructions."""
import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

# Read when faiss is loaded.
FAISS_LEVELS = {"avx2": "AVX2", "baseline": "NONE"}
if os.environ.get("HH_SIMD") in FAISS_LEVELS:
    os.environ.setdefault("FAISS_SIMD_LEVEL", FAISS_LEVELS[os.environ["HH_SIMD"]])
import faiss  # noqa: E402

CENTRES, FLIP, SLICE = 1000, 0.1, 100_000


def clustered(count, bits, seed):
    centres = np.random.default_rng(999).integers(0, 2, (CENTRES, bits), dtype=np.uint8)
    rng = np.random.default_rng(seed)
    parts = []
    for begin in range(0, count, SLICE):
        n = min(SLICE, count - begin)
        flipped = centres[rng.integers(0, CENTRES, n)] ^ (rng.random((n, bits), dtype=np.float32) < FLIP)
        parts.append(np.packbits(flipped, axis=1, bitorder="little"))
    return np.concatenate(parts)


class Timer:
    def __init__(self):
        self.wall, self.cpu = [], []

    def run(self, work):
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        self.cpu.append(time.process_time() - cpu)
        self.wall.append(time.perf_counter() - wall)
        return result

    def summary(self):
        return dict(wall_min=min(self.wall), wall_median=float(np.median(self.wall)), cpu_min=min(self.cpu))


def time_faiss(index, queries, k, threads, repeats, alone):
    """The better of the two methods, and its distances."""
    faiss.omp_set_num_threads(threads)
    best = None
    for heap in (True, False):
        index.use_heap = heap
        index.search(queries[:1], k)
        timer = Timer()
        for i in range(repeats):
            part = queries[i % len(queries)][None] if alone else queries
            distances, _ = timer.run(lambda part=part: index.search(part, k))
        if best is None or timer.summary()["wall_min"] < best[0]["wall_min"]:
            best = timer.summary() | {"method": "heap" if heap else "counting"}, distances
    return best


class Ours:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder

    def save(self, name, codes):
        np.save(self.folder / f"{name}.npy", codes)

    def time(self, mode, k, threads, repeats, database="db", queries="q"):
        out = self.folder / mode
        files = [self.folder / f"{name}.npy" for name in (database, queries)]
        command = [self.program, mode, *files, k, threads, repeats, out]
        output = subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout
        return json.loads(output.splitlines()[-1])

    def distances(self, mode):
        return np.load(self.folder / f"{mode}.distances.npy")


def least(results):
    return min(results, key=lambda r: r["wall_min"])


def show(name, ours, other, queries, what="FAISS"):
    print(f"{name:34} {ours['wall_min']:9.5f} {ours['wall_median']:9.5f} {ours['cpu_min']:9.5f} | "
          f"{other['wall_min']:9.5f} {other['wall_median']:9.5f} {other['cpu_min']:9.5f} | "
          f"{queries / ours['wall_min']:9.0f} {other['wall_min'] / ours['wall_min']:6.2f}x wall "
          f"{other['cpu_min'] / max(ours['cpu_min'], 1e-9):6.2f}x CPU  {what}", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("search_codes")
    p.add_argument("--rows", type=int, default=1_000_000)
    p.add_argument("--queries", type=int, default=1000)
    p.add_argument("--bits", default="64,128,256")
    p.add_argument("--threads", default="1,2")
    p.add_argument("--k", type=int, default=100)
    p.add_argument("--rounds", type=int, default=2, help="turns each side takes")
    p.add_argument("--index", type=int, default=0, metavar="ROWS", help="also multi-index against scan, k = 10")
    p.add_argument("--map", action="store_true", help="also mAP@1000 of 5,000 queries x 128,503 codes, 2 threads")
    p.add_argument("--json")
    a = p.parse_args()
    rows = []
    print(f"FAISS {faiss.__version__} ({faiss.get_compile_options().strip()}); load {Path('/proc/loadavg').read_text()[:14]}")
    print(f"{'case':34} {'ours min':>9} {'median':>9} {'CPU':>9} | {'other min':>9} {'median':>9} {'CPU':>9} | "
          f"{'queries/s':>9}")
    with tempfile.TemporaryDirectory() as name:
        ours = Ours(a.search_codes, Path(name))
        for bits in map(int, a.bits.split(",")):
            database, queries = clustered(a.rows, bits, 1), clustered(a.queries, bits, 2)
            ours.save("db", database)
            ours.save("q", queries)
            index = faiss.IndexBinaryFlat(bits)
            index.add(database)
            for mode, repeats in (("scan", 3), ("one", 50)):
                for threads in map(int, a.threads.split(",")):
                    mine, theirs = [], []
                    for _ in range(a.rounds):
                        mine.append(ours.time(mode, a.k, threads, repeats))
                        result, distances = time_faiss(index, queries, a.k, threads, repeats, mode == "one")
                        theirs.append(result)
                    if mode == "scan" and not np.array_equal(ours.distances(mode), distances):
                        raise SystemExit(f"distances differ at {bits} bits")
                    count = a.queries if mode == "scan" else 1
                    case = f"{mode} {bits} bits x {a.rows} k{a.k} {threads} threads"
                    show(case, least(mine), least(theirs), count)
                    rows.append(dict(case=case, ours=mine, faiss=theirs))
        if a.index:
            ours.save("db", clustered(a.index, 64, 1))
            ours.save("q", clustered(200, 64, 2))
            for threads in map(int, a.threads.split(",")):
                scan, index = ours.time("scan", 10, threads, 3), ours.time("index", 10, threads, 3)
                if not np.array_equal(ours.distances("scan"), ours.distances("index")):
                    raise SystemExit("multi-index and scan differ")
                case = f"index 64 bits x {a.index} k10 {threads} threads"
                show(case, index, scan, 200, "our scan")
                rows.append(dict(case=case, index=index, scan=scan))
        if a.map:
            ours.save("db", clustered(128_503, 64, 1))
            ours.save("q", clustered(5000, 64, 2))
            result = ours.time("map", 1000, 2, 3)
            print(f"mAP@1000 of 5000 x 128503, 100 classes, 2 threads: {result['wall_min']:.2f} s "
                  f"(CPU {result['cpu_min']:.2f} s)")
            rows.append(dict(case="map", ours=result))
    if a.json:
        Path(a.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

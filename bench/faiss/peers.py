# SPDX-License-Identifier: Apache-2.0
"""Exact search of HybridHash beside approximate indexes of others at equal recall, on the same codes:
peers.py SEARCH_CODES [--rows 1000000,10000000] [--bits 64,256] [--ks 10,100] [--threads 1,2] [--peers ...]
[--filters] [--keep FOLDER] [--quick] [--json OUT].

Ours: a scan and multi-index hashing, both exact. Others: IndexBinaryFlat (exact), IndexBinaryIVF and
IndexBinaryHNSW of FAISS, and usearch. Recall is the share of the answers that are no farther than the true k-th
nearest: ties count as right. nprobe or ef is the least of a series that reaches --recall. Codes and queries are
those of compare.py. Each index is built in a process of its own by the most --threads, in seconds of CPU time, which
other programs don't change; memory is what that adds to the process beside the codes it was given (ours: the codes
themselves, which it searches where they lie, and tables). One query: the median over 50. Batches: the least of 3.

--keep: codes, true distances and the indexes of others are left in FOLDER and taken from there the next time, so that
building takes its time first, and what is timed afterwards takes a minute: of a busy machine, under chrt.

--filters: rows with a label that 1, 10 and 50 % of all have, ms a query; FAISS by an IDSelector, which its flat index
takes.

The arguments behind --child are this program's own."""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from compare import Ours, clustered, faiss

PERCENTS = (1, 10, 50)
SERIES = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096]


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def recall_of(distances, true, k):
    """Of approximate distances [n, k], -1 or the largest number where there are none."""
    last = true[: len(distances), k - 1 : k]
    return float(((distances >= 0) & (distances <= last)).mean())


class Flat:
    name, knob = "FAISS flat", None

    def __init__(self, codes, bits, threads):
        faiss.omp_set_num_threads(threads)
        self.index = faiss.IndexBinaryFlat(bits)
        self.index.add(codes)

    def save(self, path):
        faiss.write_index_binary(self.index, path)

    @classmethod
    def load(cls, path, bits):
        peer = cls.__new__(cls)
        peer.index = faiss.read_index_binary(path)
        return peer

    def set_threads(self, threads):
        faiss.omp_set_num_threads(threads)

    def search(self, queries, k):
        return self.index.search(queries, k)[0]


class Ivf(Flat):
    name, knob = "FAISS IVF", "nprobe"

    def __init__(self, codes, bits, threads):
        faiss.omp_set_num_threads(threads)
        lists = 1 << int(np.log2(4 * np.sqrt(len(codes))) + 0.5)
        self.quantizer = faiss.IndexBinaryFlat(bits)
        self.index = faiss.IndexBinaryIVF(self.quantizer, bits, lists)
        self.index.train(codes[: 40 * lists])
        self.index.add(codes)

    def tune(self, value):
        self.index.nprobe = value


class Hnsw(Flat):
    name, knob = "FAISS HNSW", "efSearch"

    def __init__(self, codes, bits, threads):
        faiss.omp_set_num_threads(threads)
        self.index = faiss.IndexBinaryHNSW(bits, 16)
        self.index.hnsw.efConstruction = 64
        self.index.add(codes)

    def tune(self, value):
        self.index.hnsw.efSearch = value


class Usearch:
    name, knob = "usearch", "ef"

    def __init__(self, codes, bits, threads):
        self.index, self.threads = self.empty(bits), threads
        if codes is not None:
            self.index.add(np.arange(len(codes), dtype=np.uint64), codes, threads=threads)

    @staticmethod
    def empty(bits):
        from usearch.index import Index, MetricKind, ScalarKind

        return Index(ndim=bits, metric=MetricKind.Hamming, dtype=ScalarKind.B1, connectivity=16, expansion_add=64)

    def save(self, path):
        self.index.save(path)

    @classmethod
    def load(cls, path, bits):
        peer = cls(None, bits, 1)
        peer.index.load(path)
        return peer

    def set_threads(self, threads):
        self.threads = threads

    def tune(self, value):
        self.index.expansion_search = value

    def search(self, queries, k):
        found = self.index.search(queries, k, threads=self.threads)
        if len(queries) > 1:
            return found.distances
        return found.distances.reshape(1, -1)


PEERS = {"flat": Flat, "ivf": Ivf, "hnsw": Hnsw, "usearch": Usearch}


def made(a, codes, bits):
    """The peer and what building it took; taken from a.keep where it is there."""
    kind = PEERS[a.child]
    path, facts = a.folder / f"{a.child}.index", a.folder / f"{a.child}.json"
    if a.keep and facts.exists():
        return kind.load(str(path), bits), json.loads(facts.read_text())
    before, cpu = resident_bytes(), time.process_time()
    peer = kind(codes, bits, max(a.threads))
    built = dict(build=time.process_time() - cpu, bytes=resident_bytes() - before)
    if a.keep:
        peer.save(str(path))
        facts.write_text(json.dumps(built))
    return peer, built


def tuned(peer, queries, true, k, wanted):
    """The least value that reaches `wanted`; otherwise the largest tried."""
    value = None
    for value in SERIES if peer.knob else []:
        if peer.knob != "nprobe" and value < k:
            continue
        peer.tune(value)
        if recall_of(peer.search(queries, k), true, k) >= wanted:
            break
    return value


def child(a):
    codes, queries = np.load(a.folder / "db.npy"), np.load(a.folder / "q.npy")
    peer, built = made(a, codes, codes.shape[1] * 8)
    out = dict(name=peer.name, cases=[]) | built
    if a.build_only:
        return print(json.dumps(out))
    for k in a.ks:
        true = np.load(a.folder / f"true.{k}.npy")
        peer.set_threads(max(a.threads))
        value = tuned(peer, queries, true, k, a.recall)
        for threads in a.threads:
            peer.set_threads(threads)
            alone, batch = [], []
            for i in range(50):
                query = queries[i % len(queries)][None]
                start = time.perf_counter()
                peer.search(query, k)
                alone.append(time.perf_counter() - start)
            for _ in range(3 if not a.quick else 1):
                start = time.perf_counter()
                found = peer.search(queries, k)
                batch.append(time.perf_counter() - start)
            case = dict(k=k, threads=threads, one=float(np.median(alone)), batch=min(batch) / len(queries))
            out["cases"].append(case | dict(knob=peer.knob, value=value, recall=recall_of(found, true, k)))
    print(json.dumps(out))


def ours(a, run, rows, bits):
    """As child() gives it, of scan and multi-index."""
    codes_bytes = rows * ((bits + 63) // 64) * 8
    results = []
    for name, batch_mode, one_mode in (("ours, scan", "scan", "one"), ("ours, multi-index", "index", "index-one")):
        out = dict(name=name, build=0.0, bytes=codes_bytes, cases=[])
        for k in a.ks:
            for threads in a.threads:
                batch = run.time(batch_mode, k, threads, 3 if not a.quick else 1)
                one = run.time(one_mode, k, threads, 50)
                if "build" in batch:
                    out |= dict(build=batch["build_cpu"], bytes=codes_bytes + batch["table_bytes"])
                case = dict(k=k, threads=threads, one=one["wall_median"], batch=batch["wall_min"] / a.queries)
                out["cases"].append(case | dict(knob=None, value=None, recall=1.0))
                true = run.distances(batch_mode)
                if batch_mode == "scan":
                    np.save(run.folder / f"true.{k}.npy", true)
                elif not np.array_equal(true, np.load(run.folder / f"true.{k}.npy")):
                    raise SystemExit(f"scan and multi-index differ at {rows} codes of {bits} bits")
        results.append(out)
    return results


def show(rows, bits, out):
    for case in out["cases"]:
        knob = f"{case['knob']} {case['value']}" if case["knob"] else "exact"
        print(f"| {rows} x {bits} | {out['name']} | {knob} | {case['recall']:.4f} | {case['k']} | {case['threads']} | "
              f"{1e3 * case['one']:.3f} | {1e3 * case['batch']:.4f} | {out['build']:.1f} | {out['bytes'] / 2**20:.0f} |",
              flush=True)


def has_label(rows, percent):
    numbers = np.arange(rows, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (numbers >> np.uint64(32)) % np.uint64(100) < np.uint64(percent)


def filters(a, run, rows, bits):
    """ms a query, ours and FAISS's flat index with an IDSelector, in turns."""
    k, codes, queries = a.ks[0], np.load(run.folder / "db.npy"), np.load(run.folder / "q.npy")
    index = faiss.IndexBinaryFlat(bits)
    index.add(codes)
    for threads in a.threads:
        faiss.omp_set_num_threads(threads)
        mine = run.time("filter", k, threads, 3)["filters"]
        for percent, our in zip(PERCENTS, mine):
            chosen = np.flatnonzero(has_label(rows, percent)).astype(np.int64)
            bitmap = np.packbits(has_label(rows, percent), bitorder="little")
            with_selector = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bitmap))
            alone, batch = [], []
            for i in range(30):
                start = time.perf_counter()
                index.search(queries[i % len(queries)][None], k, params=with_selector)
                alone.append(time.perf_counter() - start)
            for _ in range(2):
                start = time.perf_counter()
                distances, found = index.search(queries, k, params=with_selector)
                batch.append(time.perf_counter() - start)
            same = np.array_equal(distances, run.distances(f"filter.{percent}"))
            if not same or not np.isin(found, chosen).all():
                raise SystemExit(f"answers differ with a filter of {percent} %")
            print(f"| {rows} x {bits} | {percent} % | {threads} | {1e3 * our['one']['wall_median']:.3f} | "
                  f"{1e3 * np.median(alone):.3f} | {1e3 * our['batch']['wall_min'] / len(queries):.4f} | "
                  f"{1e3 * min(batch) / len(queries):.4f} | {1e3 * our['select']:.1f} | "
                  f"{1e3 * our['one_with_select']['wall_median']:.3f} |", flush=True)


def numbers(text):
    return [int(word) for word in text.split(",")]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("search_codes")
    p.add_argument("--rows", type=numbers, default=[1_000_000])
    p.add_argument("--bits", type=numbers, default=[64, 256])
    p.add_argument("--ks", type=numbers, default=[10, 100])
    p.add_argument("--threads", type=numbers, default=[1, 2])
    p.add_argument("--queries", type=int, default=1000)
    p.add_argument("--recall", type=float, default=0.99)
    p.add_argument("--peers", default="flat,ivf,hnsw,usearch")
    p.add_argument("--filters", action="store_true", help="searches with a filter in place of the table of peers")
    p.add_argument("--keep", type=Path, help="folder for codes and indexes, used again where they are there")
    p.add_argument("--build-only", action="store_true", help="with --keep: time nothing")
    p.add_argument("--quick", action="store_true", help="100,000 codes of 64 bits: half a minute")
    p.add_argument("--json")
    p.add_argument("--child", help=argparse.SUPPRESS)
    p.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.quick and not a.child:
        a.rows, a.bits = [100_000], [64]
    if a.child:
        return child(a)
    everything = []
    print(f"FAISS {faiss.__version__} ({faiss.get_compile_options().strip()}), load {Path('/proc/loadavg').read_text()[:14]}")
    if a.filters:
        print("| codes | selected | threads | ours, one ms | FAISS | ours, of a batch ms | FAISS | ours: select ms | select and search, one ms |")
    else:
        print("| codes | index | at | recall | k | threads | one, ms | of a batch, ms | build, CPU s | MiB |")
    print("|---" * (9 if a.filters else 10) + "|")
    for rows in a.rows:
        for bits in a.bits:
            with tempfile.TemporaryDirectory() as temporary:
                name = str(a.keep / f"{rows}x{bits}") if a.keep else temporary
                Path(name).mkdir(parents=True, exist_ok=True)
                run = Ours(a.search_codes, Path(name))
                if not (run.folder / "q.npy").exists():
                    run.save("db", clustered(rows, bits, 1))
                    run.save("q", clustered(a.queries, bits, 2))
                if a.filters:
                    filters(a, run, rows, bits)
                    continue
                results = [] if a.build_only else ours(a, run, rows, bits)
                for out in results:
                    show(rows, bits, out)
                for peer in a.peers.split(","):
                    words = [sys.executable, __file__, *sys.argv[1:], "--child", peer, "--folder", name]
                    output = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
                    results.append(json.loads(output.splitlines()[-1]))
                    show(rows, bits, results[-1])
                everything += [dict(rows=rows, bits=bits) | out for out in results]
    print("load " + Path("/proc/loadavg").read_text()[:14])
    if a.json:
        Path(a.json).write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()

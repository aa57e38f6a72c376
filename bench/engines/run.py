#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How fast codes go to a server, and how fast it searches them, beside the program's own index: run.py PROGRAM
[--items N] [--engine KIND URL]. Without --engine it starts a PostgreSQL of its own. Codes of 64 bits around 1,000 centres, with a
label and a path each; k = 100. Prints rows of a table of Markdown."""
import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/engines"))
from postgres_server import Server  # noqa: E402


def write(place, count, seed):
    draw, centres = random.Random(seed), random.Random(0)
    centres = [centres.getrandbits(64) for _ in range(1000)]
    with open(place, "w", encoding="ascii") as file:
        file.write("id,hex,labels,path,metadata\n")
        for i in range(count):
            code = centres[draw.randrange(1000)]
            for _ in range(6):
                code ^= 1 << draw.randrange(64)
            file.write(f"{i},{code:016x},{i % 10},photos/2024/img_{i:08d}.jpg,\n")


def json_of(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout


def measure(program, engine, items, rounds):
    load = "%.1f" % os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="hh-engine-bench-") as name:
        folder = pathlib.Path(name)
        write(folder / "items.csv", items, 1)
        write(folder / "queries.csv", 1000, 2)
        json_of(program, "index", "build", "--codes", folder / "items.csv", "--out", folder / "x")
        there = ["--engine", *engine, "--collection", "hh_bench"]
        pushed = [json_of(program, "index", "push", folder / "x", *there, "--overwrite", "--json") for _ in range(3)]
        best = max(pushed, key=lambda done: done["codes_per_second"])
        pulled = json_of(program, "index", "pull", *there, "--out", folder / "pulled.codes", "--json")
        asked = ["-k", "100", "--json", "--codes"]
        exact = []
        for of in (there, ["--index", folder / "x"]):
            json_of(program, "search", *of, "--id", ",".join(map(str, range(0, items, items // 50))), *asked[:-1], "--out", folder / "i.npy",
                    "--out-distances", folder / "d.npy")
            exact.append(((folder / "i.npy").read_bytes(), (folder / "d.npy").read_bytes()))
        bench = pathlib.Path(program).parent / "hh_engine_bench"
        raw = ["--raw"] if engine[0] == "postgres" else []
        lines = [line.split("\t") for line in json_of(bench, *engine, "hh_bench", folder / "queries.csv", rounds, *raw).splitlines()]
        times = {what: (float(least), float(median)) for what, least, median in lines}
        own = {what: json_of(program, "search", "--index", folder / "x", *asked, folder / "queries.csv", *more)["search_seconds"]
               for what, more in (("batch", []), ("one", ["--sample", "1"]), ("filter", ["--sample", "1", "--filter", "label=3"]))}
    of_batch = [what for what in times if what.startswith("batch")][0]
    queries = int(of_batch.split()[-1])
    print(f"{items} items, load {load}; three pushes: " + ", ".join(f"{done['codes_per_second']:.0f} codes/s" for done in pushed))
    if raw:
        print(f"the same SQL by libpq alone, in turns, {rounds} rounds: least {times['raw'][0] * 1e3:.1f} ms, median "
              f"{times['raw'][1] * 1e3:.1f}; times {times['one'][0] / times['raw'][0]:.3f}, {times['one'][1] / times['raw'][1]:.3f}")
    same = "distances and ids equal" if exact[0] == exact[1] else "distances equal" if exact[0][1] == exact[1][1] else "DIFFERENT"
    print("| | push, codes/s | pull, codes/s | one query | batch, queries/s | label=3, one query | against our scan |\n|---|--:|--:|--:|--:|--:|---|")
    print(f"| {best['server']} | {best['codes_per_second']:,.0f} | {pulled['items'] / pulled['seconds']:,.0f} | {times['one'][1] * 1e3:.0f} ms | "
          f"{queries / times[of_batch][0]:.1f} | {times['filter'][1] * 1e3:.0f} ms | {same} |")
    print(f"| our scan of an index | | | {own['one'] * 1e3:.2f} ms | {1000 / own['batch']:,.0f} | {own['filter'] * 1e3:.1f} ms | |")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--engine", nargs=2)
    words = parser.parse_args()
    if words.engine:
        return measure(words.program, words.engine, words.items, words.rounds)
    with Server() as server:
        return measure(words.program, ["postgres", server.url], words.items, words.rounds)


if __name__ == "__main__":
    main()

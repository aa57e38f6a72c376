# SPDX-License-Identifier: Apache-2.0
"""How much of its speed training keeps beside busy processes: busy.py PROGRAM [--busy 0 1 2] [--rounds N] [--seconds S]
[--threads N] [--torch PYTHON] [--other PROGRAM]
PROGRAM is hybridhash; --torch a Python that has PyTorch, --other a second hybridhash, each measured in turns with it. Every
measurement is a process of its own beside so many loops that do nothing else, which end with it, and after two minutes at
the latest. `share` is of the same program's idle median; a fair share of C cores beside B loops is C / (C + B) for C threads."""
import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

TORCH = Path(__file__).parent.parent / "torch" / "run_torch.py"
MOST_SECONDS = 120
LOOP = f"import time\nend = time.monotonic() + {MOST_SECONDS}\nwhile time.monotonic() < end: pass"


def measured(command, loops):
    busy = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(loops)]
    try:
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return json.loads(out.splitlines()[-1])["images_per_s"]
    finally:
        for process in busy:
            process.kill()
        for process in busy:
            process.wait()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("program")
    p.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2])
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", default="4")
    p.add_argument("--threads", default="2")
    p.add_argument("--torch")
    p.add_argument("--other")
    a = p.parse_args()

    def ours(program):
        return [program, "bench", "--config", "micro", "--mode", "train", "--batch", "64", "--device", "cpu",
                "--threads", a.threads, "--seconds", a.seconds, "--json"]
    programs = {"hybridhash": ours(a.program)}
    if a.other:
        programs["other"] = ours(a.other)
    if a.torch:
        programs["PyTorch"] = [a.torch, str(TORCH), "micro", "train", "64", a.threads, a.seconds, "0"]
    runs = {(name, loops): [] for name in programs for loops in a.busy}
    for _ in range(a.rounds):
        for loops in a.busy:
            for name, command in programs.items():
                runs[name, loops].append(measured(command, loops))
    print(f"micro training, batch 64, images/s: median (least to most) of {a.rounds} rounds of {a.seconds} s, {a.threads} threads, "
          f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the end\n")
    print("| busy loops | " + " | ".join(f"{name} | share" for name in programs) + " |")
    print("|--:|" + "--:|--:|" * len(programs))
    for loops in a.busy:
        cells = []
        for name in programs:
            of = runs[name, loops]
            middle = statistics.median(of)
            idle = statistics.median(runs[name, 0]) if 0 in a.busy else 0
            cells.append(f"{middle:.0f} ({min(of):.0f} to {max(of):.0f}) | {middle / idle:.2f}" if idle else f"{middle:.0f} | -")
        print(f"| {loops} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()

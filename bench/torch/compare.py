# SPDX-License-Identifier: Apache-2.0
"""HybridHash and PyTorch side by side on this machine: compare.py PROGRAM [--seconds S] [--compile] [--json OUT].
The two take turns, each measurement in a process of its own, so that both meet the same machine."""
import argparse
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
# What ours adds: at the paper's size it trades time, of which it has plenty, for memory.
CASES = [("micro", "train", 64, []), ("micro", "encode", 256, []), ("paper", "train", 2, []),
         ("paper", "train", 2, ["--recompute", "layer"]), ("paper", "encode", 8, [])]


def last_json(command):
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def best(runs):
    """The fastest run stands for the program: others met a busier machine."""
    return max(runs, key=lambda r: r["images_per_s"])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("program")
    p.add_argument("--seconds", default="10")
    p.add_argument("--threads", default="2")
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--compile", action="store_true", help="also torch.compile")
    p.add_argument("--json")
    a = p.parse_args()
    rows = []
    print(f"{'case':22} {'ours img/s':>11} {'torch img/s':>12} {'ratio':>6} {'ours MiB':>9} {'torch MiB':>10} {'ratio':>6}")
    for preset, mode, batch, extra in CASES:
        ours, torch = [], []
        for _ in range(a.rounds):
            ours.append(last_json([a.program, "bench", "--config", preset, "--mode", mode, "--batch", str(batch),
                                   "--threads", a.threads, "--seconds", a.seconds, "--json", *extra]))
            for compiled in ("0", "1") if a.compile else ("0",):
                torch.append(last_json([sys.executable, str(HERE / "run_torch.py"), preset, mode, str(batch), a.threads,
                                        a.seconds, compiled]))
        o, t = best(ours), best(torch)
        case = " ".join([preset, mode, f"b{batch}", *(word.strip("-") for word in extra[1:])])
        rows.append(dict(case=case, ours=ours, torch=torch))
        print(f"{rows[-1]['case']:22} {o['images_per_s']:11.2f} {t['images_per_s']:12.2f} "
              f"{o['images_per_s'] / t['images_per_s']:6.2f} {o['peak_rss_mib']:9.0f} {t['peak_rss_mib']:10.0f} "
              f"{o['peak_rss_mib'] / t['peak_rss_mib']:6.2f}", flush=True)
    if a.json:
        Path(a.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

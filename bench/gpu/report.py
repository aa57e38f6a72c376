#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns what run.sh left into a page: report.py [RUN] [--estimates PROFILE] [--out docs/gpu-results.md]
Without RUN the page says that nothing was measured, and how to. PROFILE is what `ptxsim run --profile=PROFILE` wrote of the
same training step: its times are ESTIMATES, and stand beside the measured ones as the simulator's calibration. Plots go
into a folder beside the page, of its name. Standard library only."""
import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import report_calibration  # noqa: E402
import report_page as page  # noqa: E402
import report_plots as plots  # noqa: E402
from report_run import Run  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
HOW = """## How to make this page

    bench/gpu/bundle.sh build/cuda hybridhash-gpu.tar.xz --goldens FOLDER   # where it was built
    bench/gpu/run.sh --out RESULTS                                          # on the GPU's machine, in the unpacked bundle
    ptxsim run --gpu=h200 --profile=step.jsonl -- build/cuda/bin/hybridhash bench --config paper --device cuda \\
      --mode train --batch 64 --dtype bf16 --steps 1 --no-graph --tune off  # estimates of the same step; minutes
    python3 bench/gpu/report.py RESULTS --estimates step.jsonl --out docs/gpu-results.md

What the run does: [on a GPU](gpu.md#on-a-machine-with-a-gpu-one-run-that-tells-all). What can't run there is skipped, and named on the
page. A figure of the simulator is called an estimate everywhere.
"""
NOTHING = """# Measured on a GPU

**Nothing was measured on a GPU so far.** Figures for GPUs elsewhere in these documents are the simulator's: counts, and times that are
estimates.

"""
SIMULATED = """**A dry run in a simulator, not a measurement.** Times are the simulator's own run time and say nothing about a GPU; the page shows
only how a real one would look.

"""


def make_page(run, profile, folder):
    """(the page, names of plots to their SVG)."""
    gpu = run.facts.get("gpu") or "a GPU that the run couldn't name"
    head = ["# Measured on a GPU", ""]
    head += SIMULATED.splitlines() if run.simulated else [
        f"One run of `bench/gpu/run.sh` on {gpu}, {run.facts.get('date', 'day unknown')}, commit {run.facts.get('commit', 'unknown')[:7]}."]
    head += [""] if head[-1] else []
    lines, drawings = report_calibration.section(run, ROOT, profile, folder)
    bars = page.bars(run)
    if bars:
        drawings["throughput.svg"] = plots.bars("images a second" + (", SIMULATED" if run.simulated else ""), bars)
    body = [*page.machine(run), *page.correctness(run), *page.start_up(run), *page.whole_network(run, folder), *page.products(run),
            *page.cases("Search of codes on the GPU, kernels alone", run.hamming), *report_calibration.search_section(run, ROOT),
            *page.cases("Single kernels", run.kernels), *lines, *page.missing(run)]
    if run.simulated:
        body = [line + " (simulated)" if line.startswith("## ") else line for line in body]
    return "\n".join(head + body + [HOW]), drawings


def write(path, text):
    part = path.with_name(path.name + ".tmp")
    part.write_text(text)
    os.replace(part, path)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("run", nargs="?", type=Path)
    p.add_argument("--estimates", type=Path)
    p.add_argument("--out", type=Path, default=ROOT / "docs" / "gpu-results.md")
    a = p.parse_args()
    if a.run is None:
        return write(a.out, NOTHING + HOW)
    if not (a.run / "parts.tsv").is_file():
        p.error(f"{a.run}: holds no parts.tsv, so it isn't a folder of run.sh")
    if a.estimates and not a.estimates.is_file():
        p.error(f"--estimates {a.estimates}: no such file")
    text, drawings = make_page(Run(a.run), a.estimates, a.out.stem)
    if drawings:
        a.out.with_suffix("").mkdir(exist_ok=True)
    for name, drawing in drawings.items():
        write(a.out.with_suffix("") / name, drawing)
    write(a.out, text)


if __name__ == "__main__":
    main()

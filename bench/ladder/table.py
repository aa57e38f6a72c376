# SPDX-License-Identifier: Apache-2.0
"""The ladders as Markdown tables, counted and ESTIMATED by ptxsim: bench/ladder/table.py [GPU] [PROFILE.jsonl]
GPU: h100 (default), h200, a100, rtx4090. A profile that is there is read; else build/cuda/bin/hh_ladder --large makes one.
  calls     launches, and calls of a library: the rung `library`, after the product's, has one
  sectors   bytes of all 32-byte sectors that the rung asks for, over the bytes that the op must move at least once
  coal.     sectors that ideal accesses would need, over those asked for
  conflict  shared-memory wavefronts over the fewest possible
  regs, spill   of the kernel that has most
  gain      estimated time of the rung before over this one's"""
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "bench", "cuda_report"))
from report import GPUS, estimate_us, ratio  # noqa: E402


def make_profile(gpu, path):
    simulator = os.path.join(os.environ.get("PTXSIM_HOME", os.path.join(ROOT, "..", "shared", "ptxsim")), "bin", "ptxsim")
    program = os.path.join(ROOT, "build", "cuda", "bin", "hh_ladder")
    for file, cure in ((simulator, "set PTXSIM_HOME"), (program, "scripts/build.sh cuda hh_ladder hh_cuda")):
        if not os.path.exists(file):
            sys.exit(f"table.py: {file} isn't there ({cure})")
    command = [simulator, "run", f"--profile={path}", f"--gpu={gpu}", "--", program, "--large"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "HH_BENCH_CASES": path})


def read_rungs(path, gpu):
    """{ladder and shape: [(rung, declared bytes, its kernels)]}, in the order of the run."""
    ladders, kernels = {}, None
    with open(path) as lines:
        for r in map(json.loads, lines):
            if r["kind"] == "case":
                ladder, rung, shape = r["case"].split("/")
                kernels = []
                ladders.setdefault(f"{ladder} {shape}", []).append((rung, r["bytes"], kernels))
            elif r["kind"] == "case_end":
                kernels = None
            elif r["kind"] in ("kernel", "library") and kernels is not None and estimate_us(r, gpu) > 0:
                kernels.append({**r, "us": estimate_us(r, gpu)})
    return ladders


def print_ladder(title, rungs, gpu):
    print(f"\n{title}, ESTIMATES for {gpu}:\n")
    print("| rung | calls | sectors | coal. | conflict | regs | spill | EST. us | gain |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    before = None
    for rung, declared, kernels in rungs:
        def total(field):
            return sum(k[field] for k in kernels)
        us = total("us")
        gain = f"{before / us:.2f}" if before else "-"
        before = us
        if any(k["kind"] == "library" for k in kernels):  # of whose kernels nothing is counted
            print(f"| {rung} | {len(kernels)} | - | - | - | - | - | {us:.2f} | {gain} |")
            continue
        sectors = total("global_sectors")
        coalescing = ratio(sum(k["coalescing"] * k["global_sectors"] for k in kernels), sectors)
        ideal = total("shared_wavefronts_ideal")
        conflict = f"{total('shared_wavefronts') / ideal:.2f}" if ideal else "-"
        print(f"| {rung} | {len(kernels)} | {ratio(32 * sectors, declared):.2f} | {coalescing:.0%} | {conflict} | "
              f"{max(k['registers'] for k in kernels)} | {max(k['spill_bytes'] for k in kernels)} | {us:.2f} | {gain} |")


def main():
    gpu = sys.argv[1] if len(sys.argv) > 1 else "h100"
    if gpu not in GPUS or len(sys.argv) > 3:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        path = sys.argv[2] if len(sys.argv) == 3 else os.path.join(folder, "profile.jsonl")
        if not os.path.exists(path):
            make_profile(gpu, path)
        for title, rungs in read_rungs(path, gpu).items():
            print_ladder(title, rungs, gpu)


if __name__ == "__main__":
    main()

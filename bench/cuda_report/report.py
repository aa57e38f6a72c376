# SPDX-License-Identifier: Apache-2.0
"""Tables from a ptxsim profile: report.py PROFILE.jsonl [--step] [--json OUT]
First a row a case (which hh_bench marks in the profile), beside its limits: the time its declared bytes take at
the GPU's DRAM rate, its operations at the peak of their type, and its instructions at four a cycle and SM. Then each row is a kernel at one grid size. Times are the simulator's ESTIMATES; everything else is counted.
  sectors   bytes of all 32-byte sectors asked for, over the bytes that must move at least once
  coal.     sectors that ideal accesses would need, over those asked for
  conflict  shared-memory wavefronts over the fewest possible
--json    also a line of JSON for each case; compare and plot don't take them, since an estimate is no time
--step    one row a kernel, with its share of the whole step's estimated time, and library calls."""
import argparse
import json
import os
import re
from collections import OrderedDict


# Published figures, as in ptxsim's models: DRAM GB/s; dense TFLOP/s in bf16 on tensor cores; in float32 the better of
# the FP32 units and a third of TF32's, whose three products make one of float32 (window_attention_fragments.cuh).
GPUS = {"h100": (3350, 989, 494 / 3), "h200": (4800, 989, 494 / 3), "a100": (1555, 312, 156 / 3), "rtx4090": (1008, 165, 82.6)}


def short(name):
    name = re.sub(r"\(anonymous namespace\)::|hh::gpu::|hh::|void ", "", name)
    name = re.sub(r"\(.*\)$", "", name)
    return re.sub(r"<(.*)>", lambda m: "<" + m.group(1).replace("(int)", "").replace(" ", "") + ">", name)[:64]


def ratio(a, b):
    return a / b if b else 0.0


def estimate_us(record, gpu):
    us = record.get("model_us", 0.0)
    return us[gpu] if isinstance(us, dict) else us  # library calls are estimated for every GPU


def case_rows(records, gpu):
    """What each case comes to: its launches and library calls together."""
    dram, tensor, plain = GPUS[gpu]
    rows, row = [], None
    for r in records:
        if r["kind"] == "case":
            row = dict(estimate=True, gpu=gpu, bench=r["case"], bytes=r["bytes"], flops=r["flops"],
                       dram_limit_us=r["bytes"] / dram / 1e3,
                       product_limit_us=r["flops"] / (tensor if r["gemm"] == "bf16" else plain) / 1e6,
                       launches=0, issue_us=0.0, estimated_us=0.0, sectors_bytes=0, limiters={}, library=[])
            rows.append(row)
        elif r["kind"] == "case_end":
            row = None
        elif row is not None and r["us"] > 0:
            row["launches"] += 1
            row["estimated_us"] += r["us"]
            if r["kind"] == "kernel":
                row["issue_us"] += r["model_resource_us"]["issue"]
                row["sectors_bytes"] += 32 * r["global_sectors"]
                limiter = r["model_limiter"]
            else:
                limiter = r.get("lib", "library")
                row["library"].append(r.get("name", ""))
            row["limiters"][limiter] = row["limiters"].get(limiter, 0.0) + r["us"]
    for row in rows:
        row["of_limit"] = ratio(max(row["dram_limit_us"], row["product_limit_us"]), row["estimated_us"])
        limiters = row.pop("limiters")
        row["estimated_limiter"] = max(limiters, key=limiters.get) if limiters else "none"
    return rows


def print_cases(rows, gpu):
    print(f"ESTIMATES for {gpu} by ptxsim; no GPU was timed. Launches are in them, at 2 to 2.5 us each.")
    print(f"{'case':52} {'calls':>5} {'EST. us':>9} {'DRAM us':>8} {'product':>8} {'issue us':>8} {'of limit':>8} bound by")
    for r in rows:
        issue = "library" if r["library"] else f"{r['issue_us']:.2f}"
        print(f"{r['bench']:52} {r['launches']:5d} {r['estimated_us']:9.2f} {r['dram_limit_us']:8.2f} "
              f"{r['product_limit_us']:8.2f} {issue:>8} {r['of_limit']:8.0%} {r['estimated_limiter']}")
    print()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("profile")
    p.add_argument("--step", action="store_true")
    p.add_argument("--json")
    a = p.parse_args()
    rows, total, gpu, records = OrderedDict(), 0.0, "h100", []
    with open(a.profile) as lines:
        for line in lines:
            r = json.loads(line)
            gpu = r.get("gpu", gpu)
            r["us"] = estimate_us(r, gpu)
            records.append(r)
            if r["kind"] in ("case", "case_end"):
                continue
            total += r["us"]
            kernel = r["kind"] == "kernel"
            name = short(r["name"]) if kernel else f"{r.get('lib', r['kind'])}: {r.get('name', '')}"[:64]
            key = name if a.step or not kernel else (name, tuple(r["grid"]))
            rows.setdefault(key, []).append((name, kernel, r))
    if a.step:
        print(f"{'kernel or call':64} {'launches':>8} {'est. us':>9} {'share':>6}")
        for group in sorted(rows.values(), key=lambda g: -sum(r["us"] for _, _, r in g)):
            us = sum(r["us"] for _, _, r in group)
            print(f"{group[0][0]:64} {len(group):8d} {us:9.1f} {us / total:6.1%}")
        ours = [r for g in rows.values() for _, kernel, r in g if kernel]
        own, least = sum(r["us"] for r in ours), sum(r["model_resource_us"]["dram"] for r in ours)
        launches = sum(len(g) for g in rows.values())
        print(f"{launches} launches and calls, {total:.0f} us estimated, of which our kernels {own / total:.1%}")
        print(f"were our kernels bound by DRAM alone and launched for nothing: {least / (total - own + least):.1%} of "
              f"{total - own + least:.0f} us")
        return
    cases = case_rows(records, gpu)
    if cases:
        print_cases(cases, gpu)
    if a.json:
        with open(a.json + ".tmp", "w") as out:
            out.writelines(json.dumps(row) + "\n" for row in cases)
        os.replace(a.json + ".tmp", a.json)
    print(f"ESTIMATES for {gpu} by ptxsim; no GPU was timed. limit: what the estimate says bounds the kernel")
    print(f"{'kernel':64} {'grid':>14} {'regs':>4} {'spill':>5} {'sectors':>7} {'coal.':>6} {'conflict':>8} "
          f"{'MB':>7} {'est. us':>8} {'limit':>10}")
    for group in rows.values():
        name, kernel, r = group[0]
        if not kernel:
            continue
        grid = "x".join(str(g) for g in r["grid"])
        print(f"{name:64} {grid:>14} {r['registers']:4d} {r['spill_bytes']:5d} "
              f"{ratio(32 * r['global_sectors'], r['dram_bytes_compulsory']):7.2f} {r['coalescing']:6.1%} "
              f"{ratio(r['shared_wavefronts'], r['shared_wavefronts_ideal']) if r['shared_requests'] else 1:8.2f} "
              f"{r['dram_bytes_compulsory'] / 1e6:7.2f} {r['us']:8.2f} {r['model_limiter']:>10}")


if __name__ == "__main__":
    main()

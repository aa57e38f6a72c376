"""Tables from a ptxsim profile: report.py PROFILE.jsonl [--step]
Each row is a kernel at one grid size. Times are the simulator's ESTIMATES; everything else is counted.
  sectors   bytes of all 32-byte sectors asked for, over the bytes that must move at least once
  coal.     sectors that ideal accesses would need, over those asked for
  conflict  shared-memory wavefronts over the fewest possible
--step    one row a kernel, with its share of the whole step's estimated time, and library calls."""
import argparse
import json
import re
from collections import OrderedDict


def short(name):
    name = re.sub(r"\(anonymous namespace\)::|hh::gpu::|hh::|void ", "", name)
    name = re.sub(r"\(.*\)$", "", name)
    return re.sub(r"<(.*)>", lambda m: "<" + m.group(1).replace("(int)", "").replace(" ", "") + ">", name)[:64]


def ratio(a, b):
    return a / b if b else 0.0


def estimate_us(record, gpu):
    us = record.get("model_us", 0.0)
    return us[gpu] if isinstance(us, dict) else us  # library calls are estimated for every GPU


def main():
    p = argparse.ArgumentParser()
    p.add_argument("profile")
    p.add_argument("--step", action="store_true")
    a = p.parse_args()
    rows, total, gpu = OrderedDict(), 0.0, "h100"
    with open(a.profile) as lines:
        for line in lines:
            r = json.loads(line)
            gpu = r.get("gpu", gpu)
            r["us"] = estimate_us(r, gpu)
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
        own = sum(r["us"] for g in rows.values() for _, k, r in g if k)
        launches = sum(len(g) for g in rows.values())
        print(f"{launches} launches and calls, {total:.0f} us estimated, of which our kernels {own / total:.1%}")
        return
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

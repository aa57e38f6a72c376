# SPDX-License-Identifier: Apache-2.0
"""Sections of docs/gpu-results.md: each takes a Run and gives lines of Markdown, none where there is nothing to say."""

TRAINING = [("train64", "ours, bf16, CUDA graph"), ("train64_again", "the same again, after PyTorch's turn"),
            ("train64_no_graph", "ours, bf16, launch by launch"), ("train64_f32", "ours, float32"), ("train256", "ours, bf16")]
ENCODING = [("encode8", "ours, bf16"), ("encode64", "ours, bf16"), ("encode256", "ours, bf16")]
TORCH = {"eager": "PyTorch, eager", "sdpa": "PyTorch, fused attention", "compile": "PyTorch, fused attention, compiled"}


def table(head, rows):
    """Columns whose heading ends with ':' stand to the right."""
    line = "|" + "|".join("--:" if h.endswith(":") else "---" for h in head) + "|"
    return ["| " + " | ".join(h.rstrip(":") for h in head) + " |", line] + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def escaped(words):
    return words.replace("|", "\\|").replace("<", "&lt;")


def machine(run):
    rows = [[key.replace("_", " "), escaped(value)] for key, value in run.facts.items() if value]
    return ["## Machine", ""] + table(["what", "value"], rows)


def correctness(run):
    out = ["## Right results", ""]
    rows = []
    for name, case in run.verify.items():
        checks = case["checks"]
        worst = max((c["max_abs_error"] / c["tolerance"] for c in checks if c["tolerance"] > 0), default=0)
        rows.append([name.replace(".", ", "), f"{sum(c['pass'] for c in checks)} of {len(checks)}", f"{worst:.3f}"])
    if rows:
        out += ["Reference cases (`hybridhash verify`); *worst*: the largest error over its tolerance.", ""]
        out += table(["case, type", "checks passed:", "worst:"], rows)
    rows = [[p["name"], p["status"], escaped(p["summary"]), p["seconds"]] for p in run.parts.values()
            if p["phase"] == "correctness" and not p["name"].startswith(("verify_", "jit_", "codes_")) and p["status"] != "skipped"]
    if rows:
        out += ["Tests and NVIDIA's sanitizers:", ""] + table(["part", "status", "result", "seconds:"], rows)
    return out if len(out) > 2 else []


def start_up(run):
    cold, warm = (run.parts.get(name, {}) for name in ("jit_cold", "jit_warm"))
    if cold.get("status") != "passed" or warm.get("status") != "passed":
        return []
    compiling = float(cold["seconds"]) - float(warm["seconds"])
    return ["## Start-up", "", f"`verify` of one small case takes {float(cold['seconds']):.1f} s when the driver compiles all PTX, "
            f"{float(warm['seconds']):.1f} s with what it then keeps: compiling takes {compiling:.1f} s, once.", ""]


def rows_of(run, ours, encode):
    """(label, batch, images/s, ms a step, whether ours)."""
    rows = [(label, b["batch"], b["images_per_s"], b["median_s"] * 1e3, True)
            for part, label in ours if (b := run.bench.get(part))]
    for config, label in TORCH.items():
        r = run.torch.get(config + ("-encode" if encode else ""), {})
        if "images_per_s" in r:
            rows.append((label, r["batch"], r["images_per_s"], r["median_s"] * 1e3, False))
    return rows


def bars(run):
    """(label, images/s, whether ours) for the plot."""
    return [(f"{mode} {batch}: {label}", rate, ours) for mode, of_ours, encode in (("train", TRAINING, False), ("encode", ENCODING, True))
            for label, batch, rate, _, ours in rows_of(run, of_ours, encode)]


def whole_network(run, folder):
    out = []
    for title, ours, encode in (("Training", TRAINING, False), ("Encoding", ENCODING, True)):
        rows = rows_of(run, ours, encode)
        if rows:
            out += [f"### {title}", ""] + table(["what", "batch:", "images/s:", "ms a step:"],
                                                [[r[0], str(r[1]), f"{r[2]:,.1f}", f"{r[3]:.2f}"] for r in rows])
        torch = [r for r in rows if not r[4]]
        same = [r for r in rows if r[4] and torch and r[1] == torch[0][1] and "bf16" in r[0]]
        if same and torch:
            best, fastest = max(same, key=lambda r: r[2]), max(torch, key=lambda r: r[2])
            out += [f"At batch {best[1]} ours is {best[2] / fastest[2]:.2f} times as fast as the fastest of PyTorch ({fastest[0]}).", ""]
    failed = [f"- {c}: {escaped(r['error'])}" for c, r in run.torch.items() if "error" in r]
    if failed:
        out += ["Configurations of PyTorch that failed:", ""] + failed + [""]
    if out:
        out = ["## The whole network", "", "Medians of whole steps; `hybridhash bench --config paper` and `bench/gpu/torch_gpu.py`.", "",
               f"![images a second]({folder}/throughput.svg)", ""] + out
    return out


def products(run):
    if not run.products:
        return []
    refused = sorted({(r["pass"], r["epilogue"]) for r in run.products if r["algorithms"] == "0"})
    out = ["## Products: what cuBLASLt has", ""]
    if refused:
        out += ["No algorithm for: " + "; ".join(f"{e} ({p} pass)" for p, e in refused) + ".", ""]
    timed = [r for r in run.products if float(r["best_us"]) > 0 and float(r["first_us"]) > 0]
    if not timed:
        return out + ["Nothing was timed.", ""]
    plain = [r for r in timed if r["workspace_mib"] == "32" and r["epilogue"] in ("none", "bias_bf16")]
    first, best = (sum(int(r["layers"]) * float(r[key]) for r in plain) for key in ("first_us", "best_us"))
    if plain:
        out += [f"With 32 MiB of workspace, over all layers' products without epilogue or with a bias: {first / 1e3:.2f} ms by the "
                f"heuristic's first choice, {best / 1e3:.2f} ms by the best of 8, {1 - best / first:.1%} less.", ""]
    return out + table(["case", "pass", "epilogue", "MiB:", "first us:", "best us:", "first TFLOP/s:", "best TFLOP/s:"],
                       [[r["case"], r["pass"], r["epilogue"], r["workspace_mib"], r["first_us"], r["best_us"], r["first_tflops"],
                         r["best_tflops"]] for r in timed])


def cases(title, records):
    if not records:
        return []
    return [f"## {title}", "", "`hh_bench`; what the columns mean: [benchmarks](benchmarks.md#what-the-columns-mean).", ""] + table(
        ["case", "median us:", "GB/s:", "TFLOP/s:", "of best:", "verdict"],
        [[r["bench"], f"{r['median_us']:.1f}", f"{r['gb_per_s']:.0f}", f"{r['tflop_per_s']:.1f}", f"{r['of_yardstick']:.0%}",
          r["verdict"]] for r in records])


def missing(run):
    rows = [[name, escaped(why)] for name, why in run.missing()]
    out = ["## What is missing", ""] + table(["part", "why"], rows) if rows else []
    if run.cut:
        out += ["Cut short, the last line left out: " + ", ".join(sorted(set(run.cut))) + ".", ""]
    return out

# SPDX-License-Identifier: Apache-2.0
"""The section on kernels of a training step: Nsight Compute's times and bytes, and the simulator's estimates beside them."""
import importlib.util
from pathlib import Path

import report_kernels as kernels
import report_plots as plots
from report_page import table

_spec = importlib.util.spec_from_file_location("cuda_report", Path(__file__).resolve().parents[1] / "cuda_report" / "report.py")
_cuda_report = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_cuda_report)
GPUS = _cuda_report.GPUS  # published: DRAM GB/s, dense bf16 TFLOP/s, float32 TFLOP/s

LARGE = 8e6  # bytes a launch from which a kernel's rate is DRAM's, not its start's: a first guess, not tuned


def published(name):
    """The figures of the GPU of that name, or None."""
    words = name.lower().replace(" ", "")
    return next((GPUS[gpu] for gpu in sorted(GPUS, reverse=True) if gpu.removeprefix("rtx") in words), None)


def of(value, whole):
    return f"{value / whole:.2f}" if whole else "-"


def family_table(measured, estimated, known, dram):
    ours, theirs = kernels.by_family(measured, known), kernels.by_family(estimated, known)
    total = sum(s.us for s in ours.values())
    rows = []
    for name in sorted(ours, key=lambda n: -ours[n].us):
        m, e = ours[name], theirs.get(name, kernels.Sum())
        rate = m.bytes / m.us / 1e3 if m.us else 0
        rows.append([name, str(m.launches), f"{m.us:,.0f}", f"{m.us / total:.1%}", f"{m.bytes / 1e6:,.0f}", f"{rate:,.0f}",
                     f"{rate / dram:.0%}" if dram else "-", f"{e.us:,.0f}" if e.launches else "-", of(m.us, e.us),
                     of(m.bytes, e.bytes)])
    return table(["family", "launches:", "us:", "share:", "DRAM MB:", "GB/s:", "of DRAM's peak:", "ESTIMATED us:",
                  "us over estimate:", "bytes over least:"], rows)


def kernel_table(measured, estimated, most=30):
    rows = []
    for name in sorted(measured, key=lambda n: -measured[n].us)[:most]:
        m, e = measured[name], estimated.get(name, kernels.Sum())
        rows.append([f"`{name}`", str(m.launches), f"{m.us:,.1f}", f"{m.bytes / m.us / 1e3:,.0f}" if m.us else "-",
                     f"{e.us:,.1f}" if e.launches else "-", of(m.us, e.us), of(m.bytes, e.bytes)])
    return table(["kernel", "launches:", "us:", "GB/s:", "ESTIMATED us:", "us over estimate:", "bytes over least:"], rows)


def calibration(measured, estimated, gpu, model_rate, peak):
    """What the model's constants should be, as far as this run tells: each beside what the model has."""
    out = [f"### The simulator's calibration ({gpu})", "",
           "Estimates are without launches, as Nsight Compute's times are. *us over estimate* above 1: the model is too fast.", ""]
    large = [m for name, m in measured.items()
             if name not in (kernels.LIBRARIES, "cub") and m.us and m.bytes / m.launches >= LARGE]
    rows = []
    if large:
        best = max(m.bytes / m.us for m in large) / 1e3
        rows.append(["DRAM rate that a kernel of ours reaches, GB/s", f"{best:,.0f}", f"{model_rate / 1e3:,.0f}"])
    m, e = measured.get(kernels.LIBRARIES), estimated.get(kernels.LIBRARIES)
    if m and e and peak:
        rate = e.flops / m.us / 1e6
        rows.append(["the libraries' products, share of the peak in bf16", f"{rate / peak[1]:.2f}", f"{e.flops / e.us / 1e6 / peak[1]:.2f}"])
    both = [(m.us, estimated[name].us) for name, m in measured.items() if name in estimated]
    if both:
        rows.append(["all kernels that both have, ms", f"{sum(b[0] for b in both) / 1e3:.2f}", f"{sum(b[1] for b in both) / 1e3:.2f}"])
    return out + table(["constant", "measured:", "ESTIMATE:"], rows)


def search_section(run, root):
    """The program's searches, and their kernels where ncu saw them."""
    known, peak = kernels.families(root), published(run.facts.get("gpu", ""))
    rows = []
    for codes, queries, seconds in run.searches:
        path = run.folder / f"ncu_search_{codes}_{queries}.csv"
        all_ = kernels.Sum()
        for s in (kernels.measured(path, known) if path.is_file() else {}).values():
            all_.add(s.us, s.bytes, launches=s.launches)
        least = f"{8 * codes / peak[0] / 1e3:,.0f}" if peak else "-"
        rows.append([f"{codes:,}", str(queries), f"{seconds * 1e3:.2f}", *(
            [f"{all_.us:,.0f}", f"{codes * queries / all_.us / 1e3:,.0f}", f"{all_.bytes / all_.us / 1e3:,.0f}"] if all_.us else ["-"] * 3), least])
    return ["## Search of many codes", "", "`hybridhash search`, exact scan for the 100 nearest of random codes of 64 bits, which are on the "
            "GPU. *call*: the first of a process, with copies of queries and answers. *kernels*: alone, by Nsight Compute. *DRAM*: the "
            "time of reading the codes once, at the published rate.", ""] + table(
        ["codes:", "queries:", "call ms:", "kernels us:", "Gpairs/s:", "GB/s:", "DRAM us:"], rows) if rows else []


def section(run, root, profile, folder):
    """(lines, names of plots to their SVG)."""
    path, known = run.folder / "ncu_step.csv", kernels.families(root)
    measured = kernels.measured(path, known) if path.is_file() else {}
    if not measured:
        return [], {}
    estimated, gpu, model_rate = kernels.estimated(profile, known) if profile else ({}, "", 0)
    peak = published(run.facts.get("gpu", ""))
    out = ["## Kernels of a training step", "",
           "`paper`, bf16, batch 64, the first step, each kernel alone, by Nsight Compute: "
           f"{sum(m.launches for m in measured.values())} launches, {sum(m.us for m in measured.values()) / 1e3:.2f} ms in all. "
           "*bytes over least*: DRAM's bytes over those that must move once, as the simulator counts them.", ""]
    out += family_table(measured, estimated, known, peak[0] if peak else 0)
    drawings = {}
    families, counted = kernels.by_family(measured, known), kernels.by_family(estimated, known)
    points = [(name, counted[name].flops / m.bytes, counted[name].flops / m.us / 1e6) for name, m in families.items()
              if m.us and m.bytes and name in counted and counted[name].flops]
    if points and peak:
        drawings["roofline.svg"] = plots.roofline(points, peak[0], peak[1])
        out += [f"![families under the roofs]({folder}/roofline.svg)", "", "Time and bytes are measured, operations counted by the "
                "simulator; the roofs are published figures.", ""]
    out += kernel_table(measured, estimated)
    if estimated:
        out += calibration(measured, estimated, gpu, model_rate, peak)
        points = [(name, estimated[name].us, m.us) for name, m in measured.items()
                  if name in estimated and m.us > 0 and estimated[name].us > 0]
        if points:
            drawings["calibration.svg"] = plots.calibration(points)
            out += [f"![measured over estimated]({folder}/calibration.svg)", ""]
    else:
        out += ["No estimates beside them: `report.py --estimates` was not given a profile.", ""]
    return out, drawings

# SPDX-License-Identifier: Apache-2.0
"""bench/gpu/report.py on the samples beside this file (README.md says what they are): the numbers on its page, and in its plots."""
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
GPU = ROOT / "bench" / "gpu"
sys.path.insert(0, str(GPU))
import report  # noqa: E402
import report_kernels as kernels  # noqa: E402
import report_plots as plots  # noqa: E402
from report_run import PARTS, SIZES, Run  # noqa: E402

KNOWN = kernels.families(ROOT)
DRY, MADE_UP = HERE / "dry_run", HERE / "made_up_run"


def row(page, first):
    """The cells of the table's row that begins so."""
    line = next(line for line in page.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


class DryRun(unittest.TestCase):
    page, drawings = report.make_page(Run(DRY), DRY / "step.jsonl", "gpu-results")

    def test_it_is_marked_as_simulated(self):
        self.assertIn("A dry run in a simulator, not a measurement", self.page)
        headings = [line for line in self.page.splitlines() if line.startswith("## ") and line != "## How to make this page"]
        self.assertGreater(len(headings), 5)
        self.assertEqual([h for h in headings if not h.endswith("(simulated)")], [])
        self.assertIn("SIMULATED", self.drawings["throughput.svg"])

    def test_numbers(self):
        self.assertEqual(row(self.page, "ours, bf16, CUDA graph"), ["2", "0.7", "2865.13"])
        self.assertEqual(row(self.page, "ours, bf16, launch by launch"), ["2", "0.8", "2420.24"])
        # The second check of the four is the worst: 5.78e-9 of 9.18e-7, and the first 1.42e-8 of 8.75e-7; two tolerate nothing.
        self.assertEqual(row(self.page, "loss_small, f32"), ["4 of 4", "0.016"])
        self.assertEqual(row(self.page, "hash_pool_forward/bf16/64x4x128"), ["5341.8", "0", "0.0", "0%", "latency-bound"])
        self.assertIn("takes 12.7 s when the driver compiles all PTX, 7.9 s with what it then keeps: compiling takes 4.9 s", self.page)

    def test_what_is_missing_is_named_with_its_reason(self):
        self.assertEqual(row(self.page, "ncu_step"), ["skipped: ncu isn't there"])
        self.assertEqual(row(self.page, "memcheck"), ["skipped: compute-sanitizer isn't there"])
        self.assertEqual(row(self.page, "torch"), ["out of time"])
        self.assertTrue(row(self.page, "racecheck")[0].startswith("left out by --only"))
        self.assertNotIn("## Kernels of a training step", self.page)


class MadeUpRun(unittest.TestCase):
    page, drawings = report.make_page(Run(MADE_UP), DRY / "step.jsonl", "gpu-results")

    def test_head_and_missing(self):
        self.assertIn("on NVIDIA H200 (made up), 2026-01-02, commit 0123456.", self.page)
        self.assertNotIn("simulated)", self.page)
        self.assertEqual(row(self.page, "engine"), ["failed", "test cases: 35 \\", "34 passed \\", "1 failed", "9.000"])
        self.assertEqual(row(self.page, "racecheck"), ["the run ended before it"])
        self.assertIn("Cut short, the last line left out: bench.jsonl, lt_probe.tsv, search.tsv.", self.page)

    def test_whole_network(self):
        self.assertEqual(row(self.page, "PyTorch, fused attention"), ["64", "1,600.0", "40.00"])
        self.assertEqual(row(self.page, "ours, float32"), ["64", "800.0", "80.00"])
        # Neither batch 256 nor float32 is compared.
        self.assertIn("At batch 64 ours is 2.00 times as fast as the fastest of PyTorch (PyTorch, fused attention).", self.page)
        self.assertIn("- compile: a &lt;made-up> failure", self.page)
        widths = re.findall(r'width="([0-9.]+)" height="15" fill="(#\w+)"', self.drawings["throughput.svg"])
        self.assertEqual(widths, [("288.0", plots.OURS), ("230.4", plots.OURS), ("72.0", plots.OURS), ("360.0", plots.OURS),
                                  ("90.0", plots.OTHER), ("144.0", plots.OTHER)])

    def test_products(self):
        self.assertIn("No algorithm for: bias_f32 (forward pass).", self.page)
        # 15 x 100 + 2 x 250 and 15 x 80 + 2 x 150; neither 8 MiB nor the line cut short counts.
        self.assertIn("2.00 ms by the heuristic's first choice, 1.50 ms by the best of 8, 25.0% less", self.page)

    def test_searches(self):
        # 40 us and 96 MB in all; 80 MB at 4.8 TB/s take 16.7 us. The third line was cut short.
        self.assertEqual(row(self.page, "10,000,000 | 1"), ["1", "0.50", "40", "250", "2,400", "17"])
        self.assertEqual(row(self.page, "10,000,000 | 1000"), ["1000", "12.50", "-", "-", "-", "17"])
        self.assertNotIn("| 1,000,000,000", self.page)

    def test_kernels_beside_estimates(self):
        # 60 MB in 16 us, and a cast's 1 MB in 0.1 us that wasn't estimated; estimates 0.42131 + 0.44372 us without launches, 394,752 bytes.
        self.assertEqual(row(self.page, "linear"), ["2", "16", "39.9%", "60", "3,750", "78%", "1", "18.50", "151.99"])
        self.assertEqual(row(self.page, "elementwise"), ["1", "0", "0.2%", "1", "10,000", "208%", "-", "-", "-"])
        self.assertEqual(row(self.page, "attention"), ["1", "4", "10.0%", "2", "500", "10%", "1", "7.32", "15.02"])
        self.assertEqual(row(self.page, kernels.LIBRARIES)[:6], ["1", "20", "49.9%", "4", "200", "4%"])
        self.assertEqual(row(self.page, "`bias_gelu_forward_kernel`"), ["2", "16.0", "3,750", "0.9", "18.50", "151.99"])
        self.assertIn("5 launches, 0.04 ms in all", self.page)

    def test_calibration(self):
        self.assertIn("The simulator's calibration (h200)", self.page)
        # The model's 4.3 TB/s, from its bytes and times; the only kernel of over 8 MB a launch has 3.75.
        self.assertEqual(row(self.page, "DRAM rate that a kernel of ours reaches, GB/s"), ["3,750", "4,300"])
        # 3,538,944 operations in 20 us, of 989 TFLOP/s, and in the 0.04257 us of the estimate.
        self.assertEqual(row(self.page, "the libraries' products, share of the peak in bf16"), ["0.00", "0.08"])
        self.assertEqual(row(self.page, "all kernels that both have, ms"), ["0.04", "0.00"])

    def test_every_estimate_is_called_so(self):
        for line in self.page.splitlines():
            if line.startswith("| family") or line.startswith("| kernel |") or line.startswith("| constant"):
                self.assertIn("ESTIMATE", line)
        self.assertIn("ESTIMATED us", self.drawings["calibration.svg"])

    def test_roofline(self):
        # attention: 1,148,416 operations in 4 us and 2 MB: 0.5742 a byte, 0.2871 TFLOP/s. The axes: 1e-2 to 1e3, 1e-1 to 1e3.
        x, y = re.search(r'<circle cx="([0-9.]+)" cy="([0-9.]+)"[^>]*/>\n<text[^>]*>attention<', self.drawings["roofline.svg"]).groups()
        labels = [int(d) for d in re.findall(r">1e(-?\d+)<", self.drawings["roofline.svg"])]
        self.assertEqual((min(labels), max(labels)), (-2, 3))
        self.assertAlmostEqual(float(x), 60 + 580 * (2 - 0.24090) / 5, delta=0.1)
        self.assertAlmostEqual(float(y), 380 - 335 * (1 - 0.54197) / 4, delta=0.1)


class Pieces(unittest.TestCase):
    def test_units_of_ncu(self):
        text = (MADE_UP / "ncu_step.csv").read_text()
        other = text.replace('"byte","byte","nsecond"', '"Kbyte","byte","usecond"').replace('"30,000,000","10,000,000","10,000"',
                                                                                          '"30,000","10,000,000","10"')
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "ncu.csv"
            path.write_text("\n".join(other.splitlines()[:4]) + "\n")
            s = kernels.measured(path, KNOWN)["bias_gelu_forward_kernel"]
        self.assertEqual((s.launches, s.us, s.bytes), (1, 10.0, 40e6))

    def test_every_kernel_has_a_family(self):
        self.assertEqual(KNOWN["window_attention_forward_mma_kernel"], "attention")
        self.assertEqual(KNOWN["column_sum_partials_kernel"], "core")
        declared = sum(len(re.findall(r"__global__", path.read_text())) for path in ROOT.glob("kernels/*/*.cu*"))
        self.assertEqual(len(KNOWN), declared)

    def test_the_scripts_have_every_part(self):
        scripts = "".join(path.read_text() for path in (GPU / "parts").glob("*.sh"))
        self.assertIn(f'pick "{" ".join(SIZES)}" ', scripts)  # what codes_, search_ and ncu_search_ are followed by
        for name in (name for names in PARTS.values() for name in names):
            stem, _, size = name.partition("_" + next((s for s in SIZES if s in name.split("_")), "?"))
            self.assertRegex(scripts, rf"\b{name}\b" if stem == name else rf"name={stem}_\$")

    def test_the_page_in_the_documents(self):
        page = (ROOT / "docs" / "gpu-results.md").read_text()
        if "Nothing was measured" in page:
            self.assertEqual(page, report.NOTHING + report.HOW)
        self.assertTrue(page.endswith(report.HOW))

    def test_the_program(self):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "page.md"
            command = [sys.executable, str(GPU / "report.py"), "--out", str(out)]
            subprocess.run(command, check=True)
            self.assertIn("Nothing was measured on a GPU so far.", out.read_text())
            subprocess.run([*command, str(MADE_UP), "--estimates", str(DRY / "step.jsonl")], check=True)
            named = re.findall(r"\]\(page/(\w+\.svg)\)", out.read_text())
            self.assertEqual(sorted(named), sorted(path.name for path in (Path(folder) / "page").iterdir()))
            self.assertEqual(len(named), 3)
            wrong = subprocess.run([*command, folder], capture_output=True, text=True)
            self.assertEqual(wrong.returncode, 2)
            self.assertIn("holds no parts.tsv", wrong.stderr)


if __name__ == "__main__":
    unittest.main()

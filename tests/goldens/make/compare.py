# SPDX-License-Identifier: Apache-2.0
"""Whether a remade case is the stored one.  usage: compare.py STORED.safetensors REMADE.safetensors

Other versions of PyTorch and numpy, and other CPUs, add in another order: float64 results may differ in their
last bits, and a float32 tensor by the rounding of such a difference. *_f32 is what float32 arithmetic gave."""
import sys

import numpy as np
from safetensors.numpy import load_file


def main():
    stored, remade = (load_file(path) for path in sys.argv[1:3])
    assert stored.keys() == remade.keys(), sorted(stored.keys() ^ remade.keys())
    worst, equal = (0.0, "none"), 0
    for name, want in stored.items():
        got = remade[name]
        assert got.shape == want.shape and got.dtype == want.dtype, name
        if np.array_equal(got, want):
            equal += 1
            continue
        assert want.dtype.kind == "f", f"{name}: numbers that must be equal differ"
        allowed = 1e-13 if want.dtype == np.float64 else 1e-5 if name.endswith("_f32") else 2.0 ** -23
        error = np.abs(got.astype(np.float64) - want).max() / np.abs(want).max()
        worst = max(worst, (float(error) / allowed, name))
    print(f"{len(stored)} tensors, {equal} with the same bits; largest difference {worst[0]:.2g} of what is allowed: {worst[1]}")
    sys.exit(1 if worst[0] > 1 else 0)


main()

# SPDX-License-Identifier: Apache-2.0
"""Checks hybridhash_torch.py against the reference results, so that the yardstick is the same network."""
import json
import struct
import sys
from pathlib import Path

import numpy as np
import torch
from hybridhash_torch import PRESETS, HybridHash

GOLDENS = Path(__file__).resolve().parents[2] / "tests" / "goldens"
sys.path.insert(0, str(GOLDENS / "make"))
from hh_common import gen_param  # noqa: E402


def load(path, name):
    """One float32 tensor of a safetensors file."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    entry = json.loads(data[8:8 + length])[name]
    assert entry["dtype"] == "F32"
    begin, end = (8 + length + offset for offset in entry["data_offsets"])
    return np.frombuffer(data[begin:end], "<f4").reshape(entry["shape"])


def largest_error(case):
    c = json.loads((GOLDENS / f"{case}.json").read_text())["config"]
    PRESETS[case] = dict(size=c["size"], patch=c["patch"], in_chans=c["in_chans"], dims=tuple(c["dims"]),
                         heads=tuple(c["heads"]), depths=tuple(c["depths"]))
    net = HybridHash(case, c["bits"]).double().eval()
    net.load_state_dict({name: torch.from_numpy(gen_param(name, tuple(value.shape), c["seed"])).double()
                         for name, value in net.state_dict().items()})
    with torch.no_grad():
        code = net(torch.from_numpy(load(GOLDENS / f"{case}.safetensors", "input").copy()).double()).numpy()
    return np.abs(code - load(GOLDENS / f"{case}.safetensors", "stage.code")).max()


def main():
    errors = {case: largest_error(case) for case in ("micro_c", "micro_e")}
    print("largest error of the code:", ", ".join(f"{case} {error:.2e}" for case, error in errors.items()))
    sys.exit(1 if max(errors.values()) > 1e-6 else 0)


if __name__ == "__main__":
    main()

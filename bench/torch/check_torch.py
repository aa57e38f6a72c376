# SPDX-License-Identifier: Apache-2.0
"""Checks hybridhash_torch.py against a golden case, so that the yardstick is the same network:
check_torch.py GOLDENS_DIR"""
import json
import struct
import sys
from pathlib import Path

import numpy as np
import torch
from hybridhash_torch import PRESETS, HybridHash

TYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "I32": "<i4", "U8": "u1"}


def load(path):
    data = Path(path).read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length:]
    return {k: np.frombuffer(body[v["data_offsets"][0]:v["data_offsets"][1]], TYPES[v["dtype"]]).reshape(v["shape"])
            for k, v in header.items()}


def main():
    goldens = Path(sys.argv[1])
    case, weights = load(goldens / "micro_a.safetensors"), load(goldens / "micro_a.weights.safetensors")
    PRESETS["golden"] = dict(size=32, patch=2, in_chans=3, dims=(32, 64, 128), heads=(1, 2, 4), depths=(1, 1, 2))
    net = HybridHash("golden", 16).double().eval()
    state = {k: torch.from_numpy(v.copy()).double() for k, v in weights.items() if not k.startswith("FcLayer")}
    net.load_state_dict(state)
    with torch.no_grad():
        code = net(torch.from_numpy(case["input"].copy()).double()).numpy()
    error = np.abs(code - case["stage.code"]).max()
    print(f"largest error of the code: {error:.2e}")
    sys.exit(error > 1e-6)


if __name__ == "__main__":
    main()

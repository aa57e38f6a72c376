# SPDX-License-Identifier: Apache-2.0
"""Encoding in float32, bf16 and int8 beside OpenVINO (int8 by NNCF's post-training quantisation of the exported
graph) and PyTorch (float32, autocast to bf16): compare_int8.py PROGRAM [--preset P --batch B --rounds N --threads T].
Made-up weights, images per second of the clock, all in turns; then the bits that bf16 and int8 change. Needs numpy, nncf,
openvino, onnxruntime and torch."""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nncf
import numpy as np
import openvino
import torch
from compare import CONFIGS, ROOT, _network, export, made_up_model, write_model

sys.path.insert(0, str(ROOT / "bench/torch"))
from hybridhash_torch import PRESETS, HybridHash, initialise  # noqa: E402


def by_openvino(graph, threads, pixels, quantised):
    core = openvino.Core()
    model = core.read_model(str(graph))
    if quantised:
        images = [np.random.default_rng(i).integers(0, 256, pixels.shape, np.uint8) for i in range(8)]
        model = nncf.quantize(model, nncf.Dataset(images), subset_size=len(images),
                              model_type=nncf.ModelType.TRANSFORMER)
    compiled = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32",
                                                 "NUM_STREAMS": 1})
    return lambda: list(compiled([pixels]).values())


def by_torch(preset, batch, threads, autocast):
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    net = HybridHash(preset, 32)
    initialise(net)
    net.eval()
    x = torch.randn(batch, PRESETS[preset]["in_chans"], PRESETS[preset]["size"], PRESETS[preset]["size"])

    def step():
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            net(x)

    return step


def rate(step, batch, seconds):
    """Of the median step."""
    step()
    times, start = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        step()
        times.append(time.perf_counter() - before)
    return batch / sorted(times)[len(times) // 2]


def program_rate(program, preset, batch, threads, dtype, seconds):
    out = subprocess.run([program, "bench", "--config", preset, "--mode", "encode", "--batch", str(batch), "--dtype", dtype,
                          "--threads", str(threads), "--device", "cpu", "--seconds", str(seconds), "--json"],
                         check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[-1])["images_per_s"]


def drawn_model(path, config):
    """As training with initialisation = "fan_in" begins: unlike compare.py's, its codes tell images apart."""
    rng = np.random.default_rng(4)
    tensors = {}
    for name, shape in _network.network_shapes(config).items():
        std = 0.02 if "pos_embed" in name else float(np.prod(shape[1:])) ** -0.5
        values = rng.standard_normal(int(np.prod(shape)), np.float32) * np.float32(std)
        if len(shape) == 1:
            values[:] = name.endswith("weight")
        tensors[name] = values
    write_model(path, config, tensors)


def changed_bits(program, config, folder):
    """Of 64 images of random squares."""
    size, model = config.image_size, folder / "drawn.safetensors"
    drawn_model(model, config)
    rng = np.random.default_rng(3)
    pictures = folder / "pictures"
    pictures.mkdir()
    for i in range(64):
        squares = rng.integers(0, 256, (8, 8, 3), np.uint8).repeat(size // 8, 0).repeat(size // 8, 1)
        (pictures / f"{i:02}.ppm").write_bytes(b"P6\n%d %d\n255\n" % (size, size) + squares.tobytes())
    codes = {}
    for dtype in ("f32", "bf16", "int8"):
        subprocess.run([program, "encode", "--model", model, "--folder", pictures, "--npy", folder / f"{dtype}.npy",
                        "--dtype", dtype, "--device", "cpu", "--batch", "8"], check=True, capture_output=True)
        codes[dtype] = np.load(folder / f"{dtype}.npy")
    print(f"{len(np.unique(codes['f32'], axis=0))} different codes of {len(codes['f32'])} images")
    for dtype in ("bf16", "int8"):
        print(f"{dtype}: {np.unpackbits(codes['f32'] ^ codes[dtype]).sum()} of {8 * codes['f32'].size} bits differ")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("--preset", default="paper", choices=CONFIGS)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    config = CONFIGS[a.preset][0]
    pixels = np.random.default_rng(2).integers(0, 256, (a.batch, config.image_size, config.image_size, 3), np.uint8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made_up_model(folder / "m.safetensors", config)
        export(a.program, folder / "m.safetensors", folder / "m.onnx")
        peers = {"OpenVINO f32": by_openvino(folder / "m.onnx", a.threads, pixels, False),
                 "OpenVINO int8": by_openvino(folder / "m.onnx", a.threads, pixels, True),
                 "PyTorch f32": by_torch(a.preset, a.batch, a.threads, False),
                 "PyTorch autocast": by_torch(a.preset, a.batch, a.threads, True)}
        rates = {}
        for _ in range(a.rounds):
            for dtype in ("f32", "bf16", "int8"):
                rates.setdefault(f"ours {dtype}", []).append(
                    program_rate(a.program, a.preset, a.batch, a.threads, dtype, a.seconds))
            for peer, step in peers.items():
                rates.setdefault(peer, []).append(rate(step, a.batch, a.seconds))
        print(f"{a.preset}, batch {a.batch}, {a.threads} threads, images/s, load {os.getloadavg()[0]:.0f}")
        for who, each in rates.items():
            print(f"{who:18}" + "".join(f"{r:9.4g}" for r in each))
        changed_bits(a.program, config, folder)


if __name__ == "__main__":
    main()

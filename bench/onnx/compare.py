# SPDX-License-Identifier: Apache-2.0
"""Models as ONNX graphs against the program: compare.py PROGRAM RUN [--rounds N]. RUN is a folder of training on
Fashion-MNIST. First the codes of its 1,000 queries, then speed with made-up weights, each on one thread, in images per
second of CPU time, which other programs on the machine change less than seconds of the clock. Needs numpy,
onnxruntime and openvino."""
import argparse
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import openvino

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/api/python"))
import pure_package  # noqa: E402, F401  (the package without its compiled half)
from hybridhash import _network, _weights  # noqa: E402

FASHION = Path("/usr/share/datasets/fashion-mnist")
CONFIGS = {"micro": (_network.Config(32, 2, 3, (32, 64, 128), (1, 2, 4), (1, 1, 2), 32, 0.0), 64, 24),
           "paper": (_network.Config(224, 4, 3, (128, 256, 512), (4, 8, 16), (2, 2, 15), 32, 0.5), 4, 2)}


def export(program, model, graph):
    subprocess.run([program, "export", "--model", model, "--onnx", graph], check=True, capture_output=True)


def runtimes(graph):
    """Functions from pixels to [outputs by name], by what computes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]

    def by_openvino(precision):
        compiled = openvino.Core().compile_model(str(graph), "CPU", {"INFERENCE_NUM_THREADS": 1,
                                                                     "INFERENCE_PRECISION_HINT": precision})
        return lambda pixels: {name: value.copy() for name, value in zip(names, compiled([pixels]).values())}

    return {"ONNX Runtime, f32": lambda pixels: dict(zip(names, session.run(names, {"pixels": pixels}))),
            "OpenVINO, f32": by_openvino("f32"), "OpenVINO, bf16": by_openvino("bf16")}


def query_pixels(run, size):
    """The queries as the recipe's transform makes them: zeros around 28 x 28, no resizing."""
    files = [FASHION / f"{part}-images-idx3-ubyte.gz" for part in ("train", "t10k")]
    images = np.concatenate([np.frombuffer(gzip.open(file).read(), np.uint8, offset=16) for file in files])
    queries = images.reshape(-1, 28, 28)[json.loads((run / "split.json").read_text())["query"]]
    edge = (size - 28) // 2
    return np.pad(queries, ((0, 0), (edge, edge), (edge, edge)))[..., None]


def compare_codes(program, run, folder):
    model = run / "best.safetensors"
    export(program, model, folder / "run.onnx")
    subprocess.run([program, "encode", "--model", model, "--part", "query", "--out", folder / "q.codes", "--npy",
                    folder / "q.npy", "--npy-outputs", folder / "outputs.npy", "--device", "cpu", "--threads", "1"],
                   check=True, capture_output=True)
    codes, outputs = np.load(folder / "q.npy"), np.load(folder / "outputs.npy")
    pixels = query_pixels(run, _network.read_model(model).config.image_size)
    print(f"{outputs.size} bits of {len(outputs)} queries, the nearest to 0 at {np.abs(outputs).min():.1e}")
    for name, compute in runtimes(folder / "run.onnx").items():
        found = compute(pixels)
        differ = np.unpackbits(found["codes"] ^ codes, axis=1, bitorder="little")[:, :outputs.shape[1]].astype(bool)
        margins = np.sort(np.abs(outputs[differ]))
        print(f"{name:18} outputs differ by at most {np.abs(found['outputs'] - outputs).max():.1e}; bits that differ: "
              f"{len(margins)}" + (f", where ours are {margins[0]:.1e} to {margins[-1]:.1e} from 0, half of them below "
                                   f"{np.median(margins):.1e}" if len(margins) else ""))


def write_model(path, config, values):
    """A model of these float32 arrays by name."""
    shapes = _network.network_shapes(config)
    tensors = {name: _weights.Tensor("F32", shapes[name], one.view(np.uint8)) for name, one in values.items()}
    transform = {"size": config.image_size, "channels": 3, "resize": "none", "resize_to": 1,
                 "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    _weights.write_safetensors(path, tensors, {"format": _network.MODEL_FORMAT, "config": config.to_json(),
                                               "transform": json.dumps(transform), "exif_orientation": "false",
                                               "class_names": "[]", "protocol": "", "recipe": ""})


def made_up_model(path, config):
    rng = np.random.default_rng(1)
    write_model(path, config, {name: rng.standard_normal(int(np.prod(shape)), np.float32) * np.float32(0.02)
                               for name, shape in _network.network_shapes(config).items()})


def program_seconds(program, preset, batch, steps):
    """CPU seconds of so many steps; a run of one step is taken off."""
    def seconds(count):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        subprocess.run([program, "bench", "--config", preset, "--mode", "encode", "--batch", str(batch),
                        "--threads", "1", "--device", "cpu", "--steps", str(count)], check=True, capture_output=True)
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before

    return seconds(steps + 1) - seconds(1)


def compare_speed(program, preset, rounds, folder):
    config, batch, steps = CONFIGS[preset]
    made_up_model(folder / "m.safetensors", config)
    export(program, folder / "m.safetensors", folder / "m.onnx")
    pixels = np.random.default_rng(2).integers(0, 256, (batch, config.image_size, config.image_size, 3), np.uint8)
    least = {}
    others = runtimes(folder / "m.onnx")
    for compute in others.values():
        compute(pixels)
    for _ in range(rounds):  # in turns, so that all meet the same machine
        least["ours, f32"] = min(least.get("ours, f32", 1e9), program_seconds(program, preset, batch, steps))
        for name, compute in others.items():
            start = time.process_time()
            for _ in range(steps):
                compute(pixels)
            least[name] = min(least.get(name, 1e9), time.process_time() - start)
    print(f"{preset}, batches of {batch}, images per CPU second: " +
          "; ".join(f"{name} {steps * batch / seconds:.4g}" for name, seconds in least.items()) +
          f" (load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores)")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare_codes(a.program, a.run, Path(folder))
        for preset in CONFIGS:
            compare_speed(a.program, preset, a.rounds, Path(folder))


if __name__ == "__main__":
    main()

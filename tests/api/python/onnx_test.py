# SPDX-License-Identifier: Apache-2.0
"""hybridhash export --onnx, by pytest: graphs in ONNX Runtime and OpenVINO against the reference results and the program.
HH_PROGRAM names it."""

import contextlib
import gzip
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from pure_package import GOLDENS
from hybridhash import _network, _weights

onnx = pytest.importorskip("onnx")
PROGRAM = os.environ.get("HH_PROGRAM", "hybridhash")


def run_program(*words):
    return subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True)


def export(model, out, **options):
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    done = run_program("export", "--model", model, "--onnx", out, *words)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def spec():
    """The specification as plain NumPy, in float64, and the generator of the goldens' weights."""
    pytest.importorskip("scipy")
    pytest.importorskip("safetensors")
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.syspath_prepend(GOLDENS / "make")
        patch.setattr(sys, "argv", ["check_spec.py", str(GOLDENS)])
        import check_spec
    return check_spec


def write_model(path, spec, golden, dtype="F32"):
    """A model file with the generator's weights."""
    config = _network.Config(golden["size"], golden["patch"], golden["in_chans"], tuple(golden["dims"]),
                             tuple(golden["heads"]), tuple(golden["depths"]), golden["bits"], 0.0)
    tensors = {}
    for name, shape in _network.network_shapes(config).items():
        values = spec.gen(name, shape, golden["seed"]).astype({"F32": np.float32, "F16": np.float16}[dtype])
        tensors[name] = _weights.Tensor(dtype, shape, values.reshape(-1).view(np.uint8))
    transform = {"size": config.image_size, "channels": config.in_channels, "resize": "none", "resize_to": 1,
                 "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    _weights.write_safetensors(path, tensors, {
        "format": _network.MODEL_FORMAT, "config": config.to_json(), "transform": json.dumps(transform),
        "exif_orientation": "false", "class_names": '["ü"]', "protocol": "", "recipe": ""})
    return path


def onnx_runtime(path, images):
    """[outputs by name] of ONNX Runtime on one thread."""
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: images})))


def openvino(path, images):
    runtime = pytest.importorskip("openvino")
    # Without this it computes in bfloat16 where the CPU can, and many bits differ.
    compiled = runtime.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32",
                                                               "INFERENCE_NUM_THREADS": 1})
    results = compiled([images])
    return {one.get_any_name(): results[one] for one in compiled.outputs}


RUNTIMES = [onnx_runtime, openvino]


def golden_case(name):
    return json.loads((GOLDENS / f"{name}.json").read_text())["config"]


@pytest.mark.parametrize("run", RUNTIMES)
@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("name", ["micro_c", "micro_e"])
def test_goldens(tmp_path, spec, name, opset, run):
    if opset > onnx.defs.onnx_opset_version():
        pytest.skip(f"onnx {onnx.__version__} has no opset {opset}")
    tensors, _ = _weights.read_safetensors(GOLDENS / f"{name}.safetensors")
    model = write_model(tmp_path / "m.safetensors", spec, golden_case(name))
    export(model, tmp_path / "m.onnx", opset=opset, inputs="normalised")
    onnx.checker.check_model(onnx.load(tmp_path / "m.onnx"), full_check=True)
    found, wanted = run(tmp_path / "m.onnx", tensors["input"].floats()), tensors["stage.code"].floats()
    # The bound of docs/specification.md, section 9, for float32.
    assert np.abs(found["outputs"] - wanted).max() < 1e-5 * np.abs(wanted).max()
    assert (found["codes"] == np.packbits(wanted > 0, axis=1, bitorder="little")).all()


@pytest.mark.parametrize("run", RUNTIMES)
def test_full_network(tmp_path, spec, run):
    config = {"size": 224, "patch": 4, "in_chans": 3, "dims": (128, 256, 512), "heads": (4, 8, 16),
              "depths": (2, 2, 15), "bits": 64, "seed": 21}
    export(write_model(tmp_path / "m.safetensors", spec, config), tmp_path / "m.onnx", inputs="normalised")
    # The generator scales what has four axes as it does weights, here by 2^-8; images are to be in [-2, 2).
    images = (spec.gen("input", (2, 3, 224, 224), 21) * 2**9).astype(np.float32)
    tensors, _ = _weights.read_safetensors(GOLDENS / "full224.safetensors")
    wanted = tensors["bits64.code"].data.view("<f8").reshape(2, 64)
    found = run(tmp_path / "m.onnx", images)["outputs"]
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


ODD = {"size": 12, "patch": 3, "in_chans": 1, "dims": (8, 16, 24), "heads": (2, 1, 3), "depths": (1, 2, 1), "bits": 11,
       "seed": 5}  # blocks of one token, grey, bits that don't fill bytes


@pytest.mark.parametrize("run", RUNTIMES)
@pytest.mark.parametrize("config", [ODD, {**ODD, "size": 60, "in_chans": 3, "bits": 8}])
def test_other_sizes(tmp_path, spec, config, run):
    model = write_model(tmp_path / "m.safetensors", spec, config)
    export(model, tmp_path / "m.onnx")
    size, channels = config["size"], config["in_chans"]
    pixels = np.random.default_rng(2).integers(0, 256, (5, size, size, channels), np.uint8)
    mean, std = np.array([0.485, 0.456, 0.406])[:channels], np.array([0.229, 0.224, 0.225])[:channels]
    wanted = spec.Model(config).forward(((pixels / 255 - mean) / std).transpose(0, 3, 1, 2))["code"]
    found = run(tmp_path / "m.onnx", pixels)
    assert np.abs(found["outputs"] - wanted).max() < 1e-5 * np.abs(wanted).max()
    assert found["codes"].shape == (5, (config["bits"] + 7) // 8) and found["codes"].dtype == np.uint8
    assert (found["codes"] == np.packbits(found["outputs"] > 0, axis=1, bitorder="little")).all()


@pytest.fixture()
def odd(tmp_path, spec):
    return write_model(tmp_path / "odd.safetensors", spec, ODD)


def test_batches(tmp_path, odd):
    pixels = np.random.default_rng(3).integers(0, 256, (6, 12, 12, 1), np.uint8)
    export(odd, tmp_path / "any.onnx")
    export(odd, tmp_path / "two.onnx", batch=2)
    whole = onnx_runtime(tmp_path / "any.onnx", pixels)["outputs"]
    for i in range(0, 6, 2):
        pair = onnx_runtime(tmp_path / "two.onnx", pixels[i:i + 2])["outputs"]
        assert np.abs(pair - whole[i:i + 2]).max() < 1e-6
    assert onnx_runtime(tmp_path / "any.onnx", pixels[:1])["outputs"].shape == (1, 11)
    with pytest.raises(Exception, match="(?i)invalid|dimension"):
        onnx_runtime(tmp_path / "two.onnx", pixels)


def test_outputs_and_metadata(tmp_path, odd):
    for outputs, names in {"both": ["outputs", "codes"], "codes": ["codes"], "outputs": ["outputs"]}.items():
        export(odd, tmp_path / "m.onnx", outputs=outputs)
        graph = onnx.load(tmp_path / "m.onnx")
        onnx.checker.check_model(graph, full_check=True)
        assert [one.name for one in graph.graph.output] == names
    props = {one.key: one.value for one in graph.metadata_props}
    assert props["hybridhash.class_names"] == '["ü"]' and json.loads(props["hybridhash.config"])["bits"] == 11
    assert props["hybridhash.weights_sha256"].startswith(props["hybridhash.model_hash"])
    first = (tmp_path / "m.onnx").read_bytes()
    export(odd, tmp_path / "m.onnx", outputs="outputs")
    assert (tmp_path / "m.onnx").read_bytes() == first


def test_weights_of_16_bits(tmp_path, spec):
    export(write_model(tmp_path / "m.safetensors", spec, ODD, "F16"), tmp_path / "m.onnx")
    export(write_model(tmp_path / "n.safetensors", spec, ODD), tmp_path / "n.onnx")
    pixels = np.random.default_rng(4).integers(0, 256, (3, 12, 12, 1), np.uint8)
    half, single = (onnx_runtime(tmp_path / f"{name}.onnx", pixels)["outputs"] for name in "mn")
    assert 0 < np.abs(half - single).max() < 0.01


@pytest.mark.parametrize("run", RUNTIMES)
def test_the_program_gives_the_same(tmp_path, spec, run):
    """Pictures of the size that the network sees, by encode and by the graph."""
    image = pytest.importorskip("PIL.Image")
    model = write_model(tmp_path / "m.safetensors", spec, golden_case("micro_c"))
    export(model, tmp_path / "m.onnx")
    pixels = np.random.default_rng(6).integers(0, 256, (8, 64, 64, 3), np.uint8)
    files = [tmp_path / f"{i}.png" for i in range(len(pixels))]
    for file, one in zip(files, pixels):
        image.fromarray(one).save(file)
    done = run_program("encode", "--model", model, *files, "--npy-outputs", tmp_path / "outputs.npy", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    ours, theirs = np.load(tmp_path / "outputs.npy"), run(tmp_path / "m.onnx", pixels)
    # Each is within 1e-5 of exact arithmetic; outputs nearer to 0 than that may differ in sign.
    assert np.abs(ours - theirs["outputs"]).max() < 2e-5
    clear = np.abs(ours) > 2e-5
    assert ((ours > 0) == (theirs["outputs"] > 0))[clear].all() and clear.mean() > 0.99


FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory):
    """The quickstart's network after its first epoch: (model, outputs and pixels of its 1,000 queries)."""
    if not FASHION.exists():
        pytest.skip("dataset-fashion-mnist isn't installed")
    folder = tmp_path_factory.mktemp("quickstart")
    recipe = pathlib.Path(__file__).parents[3] / "recipes/micro_fashion.toml"
    compute = ["--device", "cpu", "--threads", "1"]
    done = run_program("train", recipe, "--out", folder / "run", "--set", "train.epochs=1", *compute)
    assert done.returncode == 0, done.stderr
    model = folder / "run/best.safetensors"
    done = run_program("encode", "--model", model, "--part", "query", "--npy-outputs", folder / "outputs.npy", *compute)
    assert done.returncode == 0, done.stderr
    files = [FASHION / f"{part}-images-idx3-ubyte.gz" for part in ("train", "t10k")]
    images = np.concatenate([np.frombuffer(gzip.open(file).read(), np.uint8, offset=16) for file in files])
    queries = images.reshape(-1, 28, 28)[json.loads((folder / "run/split.json").read_text())["query"]]
    # The recipe's transform: zeros around 28 x 28, no resizing.
    return model, np.load(folder / "outputs.npy"), np.pad(queries, ((0, 0), (2, 2), (2, 2)))[..., None]


@pytest.mark.parametrize("run", RUNTIMES)
def test_the_quickstarts_queries(tmp_path, quickstart, run):
    model, ours, pixels = quickstart
    export(model, tmp_path / "m.onnx")
    theirs = run(tmp_path / "m.onnx", pixels)
    assert ours.shape == (1000, 32) and np.abs(ours - theirs["outputs"]).max() < 2e-5
    codes = np.unpackbits(theirs["codes"], axis=1, bitorder="little").astype(bool)
    margins = np.abs(ours[codes != (ours > 0)])
    print(f"{margins.size} of {ours.size} bits differ, at most {margins.max(initial=0):.1e} from 0")
    assert margins.max(initial=0) < 2e-5 and margins.size <= 3  # of 32,000 outputs one or two lie that near


def test_errors(tmp_path, odd):
    out = tmp_path / "m.onnx"
    for option, value, message in [("opset", 16, "16: use a whole number from 17 to 20"), ("opset", 21, "21: use"),
                                   ("batch", 0, "0: use a whole number from 1 to 65536, or dynamic"),
                                   ("batch", "many", "many: use"), ("outputs", "x", "x not in"), ("inputs", "x", "x not in")]:
        done = run_program("export", "--model", odd, "--onnx", out, f"--{option}", value)
        assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1, done.stderr
    # The model, or a file that isn't one.
    for model, to in [(odd, odd), (tmp_path / "none", out), (GOLDENS / "micro_c.safetensors", out)]:
        done = run_program("export", "--model", model, "--onnx", to)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert not out.exists()


def test_without_the_library(tmp_path, odd):
    """A program alone: no libhh_onnx.so beside it."""
    import shutil
    alone = shutil.copy(PROGRAM, tmp_path / "hybridhash")
    done = subprocess.run([alone, "export", "--model", odd, "--onnx", tmp_path / "m.onnx"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "libonnx-dev" in done.stderr

# SPDX-License-Identifier: Apache-2.0
"""hybridhash.convert, by pytest: bits through both ways, what is refused, and that no file's code runs."""

import json
import os
import pickle
import sys
import threading
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from pure_package import COMPILED, GOLDENS
from hybridhash import _network, _weights
from hybridhash.convert import convert, main

torch = pytest.importorskip("torch")

MICRO = _network.Config(32, 2, 3, (32, 64, 128), (1, 2, 4), (1, 1, 2), 20, 0.5)


def published_shapes():
    """Names and shapes of the authors' network at 64 bits, as their program printed them."""
    lines = (GOLDENS / "full224_state_dict_64bits.txt").read_text().splitlines()[:-1]  # the last is their sum
    return {name: tuple(json.loads(shape)) for name, shape, _ in (line.split("\t") for line in lines)}


def micro_shapes():
    return {**_network.network_shapes(MICRO), "FcLayer.weight": (20, 128), "FcLayer.bias": (20,)}


def nest_shapes():
    """timm's nest_base: what the published network has of it, five more layers and a head; 305 tensors."""
    new = ("FcLayer.", "hashlayer_train.")
    shapes = {name: shape for name, shape in published_shapes().items()
              if not name.startswith(new) and "conv_glo" not in name and "global_attention" not in name}
    layer = "levels.2.transformer_encoder.14."
    for j in range(15, 20):
        shapes.update({name.replace(".14.", f".{j}."): shape for name, shape in shapes.copy().items()
                       if name.startswith(layer)})
    return {**shapes, "head.weight": (1000, 512), "head.bias": (1000,)}


def made_up(shapes, dtype=torch.float32):
    """Any bits at all, NaN among them."""
    rng = np.random.default_rng(7)
    state = OrderedDict()
    for name, shape in shapes.items():
        size = int(np.prod(shape)) * torch.empty(0, dtype=dtype).element_size()
        state[name] = torch.from_numpy(np.frombuffer(rng.bytes(size), np.uint8).copy()).view(dtype).reshape(shape)
    return state


def saved(path, state):
    torch.save(state, path)
    return path


def assert_same(found, wanted):
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape, name
        assert torch.equal(found[name].reshape(-1).view(torch.uint8), tensor.reshape(-1).view(torch.uint8)), name


@pytest.fixture()
def micro(tmp_path):
    return saved(tmp_path / "micro.pth", made_up(micro_shapes()))


@pytest.mark.parametrize("shapes, kind, count", [(micro_shapes, "a model, 20 bits", 85),
                                                 (published_shapes, "a model, 64 bits", 265),
                                                 (nest_shapes, "plain weights", 305)])
def test_bits_survive_both_ways(tmp_path, shapes, kind, count):
    state = made_up(shapes())
    assert len(state) == count
    assert kind in convert(saved(tmp_path / "a.pth", state), tmp_path / "b.safetensors")
    convert(tmp_path / "b.safetensors", tmp_path / "c.pth")
    assert_same(torch.load(tmp_path / "c.pth", weights_only=True), state)
    convert(tmp_path / "c.pth", tmp_path / "d.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == (tmp_path / "d.safetensors").read_bytes()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_types_survive(tmp_path, dtype):
    state = made_up(micro_shapes(), dtype)
    convert(saved(tmp_path / "a.pth", state), tmp_path / "b.safetensors")
    convert(tmp_path / "b.safetensors", tmp_path / "c.pth")
    assert_same(torch.load(tmp_path / "c.pth", weights_only=True), state)


def test_the_safetensors_library_reads_the_same(tmp_path):
    library = pytest.importorskip("safetensors.torch")
    state = made_up(micro_shapes())
    convert(saved(tmp_path / "a.pth", state), tmp_path / "b.safetensors")
    found = library.load_file(tmp_path / "b.safetensors")
    assert_same({name: found[name] for name in state}, state)
    library.save_file(state, tmp_path / "c.safetensors")  # without metadata of ours
    convert(tmp_path / "c.safetensors", tmp_path / "d.pth")
    found = torch.load(tmp_path / "d.pth", weights_only=True)
    assert_same({name: found[name] for name in state}, state)


def test_layout_is_the_programs(tmp_path):
    """engine/files/safetensors.h: a sorted keys, data on 64 bytes, larger elements first, UTF-8 as it is."""
    state = {"b": torch.zeros(3, dtype=torch.float16), "c": torch.zeros(1), "a": torch.zeros(2)}
    convert(saved(tmp_path / "a.pth", state), tmp_path / "b.safetensors", partial=True)
    tensors, _ = _weights.read_safetensors(tmp_path / "b.safetensors")
    assert list(tensors) == ["c", "a", "b"]
    _weights.write_safetensors(tmp_path / "b.safetensors", tensors, {"z": "ü", "y": "\n"})
    header = ('{"__metadata__":{"y":"\\n","z":"ü"},"a":{"data_offsets":[4,12],"dtype":"F32","shape":[2]},'
              '"b":{"data_offsets":[12,18],"dtype":"F16","shape":[3]},'
              '"c":{"data_offsets":[0,4],"dtype":"F32","shape":[1]}}')
    whole = (tmp_path / "b.safetensors").read_bytes()
    assert whole[8:-18].decode().rstrip(" ") == header and (len(whole) - 18) % 64 == 0


def test_floats(tmp_path):
    values = np.float32([0, -1.5, 3e-5, 7e4, np.inf])
    for kind in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        tensor = torch.from_numpy(values).to(kind)
        convert(saved(tmp_path / "a.pth", {"x": tensor}), tmp_path / "b.safetensors", partial=True)
        stored = _weights.read_safetensors(tmp_path / "b.safetensors")[0]["x"]
        assert np.array_equal(stored.floats(), tensor.float().numpy())
    convert(saved(tmp_path / "a.pth", {"x": torch.arange(3)}), tmp_path / "b.safetensors", partial=True)
    with pytest.raises(ValueError, match="I64"):
        _weights.read_safetensors(tmp_path / "b.safetensors")[0]["x"].floats()


def test_metadata_say_how_to_build_and_feed_it(tmp_path, micro):
    convert(micro, tmp_path / "m.safetensors", class_names=["a", "ü"])
    model = _network.read_model(tmp_path / "m.safetensors")
    assert model.config == MICRO
    assert model.transform == {"size": 32, "channels": 3, "resize": "shorter_side", "resize_to": 37,
                               "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert json.loads(model.metadata["class_names"]) == ["a", "ü"]
    convert(micro, tmp_path / "n.safetensors", resize="exact", heads=[2, 4, 8])
    model = _network.read_model(tmp_path / "n.safetensors")
    assert model.config.heads == (2, 4, 8) and model.transform["resize_to"] == 32
    # A trip through PyTorch keeps what was said here, and changed weights get a new sum.
    convert(tmp_path / "n.safetensors", tmp_path / "o.pth")
    state = torch.load(tmp_path / "o.pth", weights_only=True)
    state["norm.bias"] = torch.zeros(128)
    convert(saved(tmp_path / "o.pth", state), tmp_path / "p.safetensors")
    changed = _network.read_model(tmp_path / "p.safetensors")
    assert changed.config == model.config and changed.transform == model.transform
    assert changed.metadata["weights_sha256"] != model.metadata["weights_sha256"]


def test_sizes_of_the_published_network():
    shapes = published_shapes()
    config = _network.Config(224, 4, 3, (128, 256, 512), (4, 8, 16), (2, 2, 15), 64, 0.5)
    assert _network.network_shapes(config) == {n: s for n, s in shapes.items() if not n.startswith("FcLayer.")}


@pytest.mark.skipif(not COMPILED, reason="the package's compiled half isn't installed")
def test_the_library_opens_it(tmp_path, micro):
    import hybridhash

    state = {name: torch.zeros(shape) for name, shape in micro_shapes().items()}
    convert(saved(micro, state), tmp_path / "m.safetensors")
    model = hybridhash.Model(tmp_path / "m.safetensors")
    sha = _network.read_model(tmp_path / "m.safetensors").metadata["weights_sha256"]
    assert (model.bits, model.image_size, model.hash) == (20, 32, sha[:16])
    with pytest.raises((ValueError, hybridhash.Error), match="data.path"):  # nobody knows its data
        model.encode_part("query")


@pytest.mark.parametrize("wrap", [
    lambda state: {"epoch": 3, "state_dict": state}, lambda state: {"model": state, "optimizer": {"lr": 0.1}},
    lambda state: OrderedDict((f"module.{name}", tensor) for name, tensor in state.items()),
    lambda state: {name: torch.nn.Parameter(tensor) for name, tensor in state.items()}])
def test_what_programs_put_around_a_state_dict(tmp_path, wrap):
    state = made_up(micro_shapes())
    convert(saved(tmp_path / "a.pth", wrap(state)), tmp_path / "b.safetensors")
    convert(saved(tmp_path / "c.pth", state), tmp_path / "d.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == (tmp_path / "d.safetensors").read_bytes()


def test_order_in_memory_is_not_order_of_the_tensor(tmp_path):
    state = made_up(micro_shapes())
    name = "hashlayer_train.convS1.weight"
    convert(saved(tmp_path / "a.pth", {**state, name: state[name].to(memory_format=torch.channels_last)}),
            tmp_path / "b.safetensors")
    convert(tmp_path / "b.safetensors", tmp_path / "c.pth")
    assert_same(torch.load(tmp_path / "c.pth", weights_only=True), state)


def test_of_a_checkpoint_only_the_model_is_taken(tmp_path, micro):
    convert(micro, tmp_path / "m.safetensors")
    tensors, metadata = _weights.read_safetensors(tmp_path / "m.safetensors")
    state = {"optimizer.v.norm.bias": tensors["norm.bias"], "bank.codes": tensors["norm.bias"]}
    _weights.write_safetensors(tmp_path / "last.safetensors", {**tensors, **state},
                               {**metadata, "format": _network.CHECKPOINT_FORMAT, "steps": "7"})
    assert _network.read_model(tmp_path / "last.safetensors").config == MICRO
    for name in ("a.pth", "b.safetensors"):
        convert(tmp_path / "last.safetensors", tmp_path / name)
    assert list(torch.load(tmp_path / "a.pth", weights_only=True)) == list(tensors)
    assert (tmp_path / "b.safetensors").read_bytes() == (tmp_path / "m.safetensors").read_bytes()


def test_fc_layer_on_demand(tmp_path):
    state = made_up(_network.network_shapes(MICRO))
    convert(saved(tmp_path / "a.pth", state), tmp_path / "b.safetensors")
    assert "strict=False" in convert(tmp_path / "b.safetensors", tmp_path / "c.pth")
    assert len(torch.load(tmp_path / "c.pth", weights_only=True)) == 83
    assert "strict=False" not in convert(tmp_path / "b.safetensors", tmp_path / "c.pth", fill_unused=True)
    filled = torch.load(tmp_path / "c.pth", weights_only=True)
    assert filled["FcLayer.weight"].shape == (20, 128) and not filled["FcLayer.bias"].any()


@pytest.mark.parametrize("change, message", [
    (lambda s: s.pop("hashlayer_train.conv2.bias"), "missing: hashlayer_train.conv2.bias$"),
    (lambda s: [s.pop("norm.weight"), s.pop("levels.0.transformer_encoder.0.mlp.fc1.bias")],
     "missing: levels.0.transformer_encoder.0.mlp.fc1.bias, norm.weight$"),
    (lambda s: s.update({"layer4.0.conv1.weight": torch.zeros(3)}), "unexpected: layer4.0.conv1.weight$"),
    (lambda s: s.update({"norm.bias": torch.zeros(3)}), r"of another shape: norm.bias is \[3\], not \[128\]$"),
    (lambda s: s.update({"levels.2.transformer_encoder.3.norm1.bias": torch.zeros(128)}),
     r"missing: levels.2.transformer_encoder.2.attn.qkv.weight, .* and \d+ more$"),
    (lambda s: s.pop("patch_embed.proj.weight"), "no state dict of HybridHash or NesT: it has no patch_embed.proj.wei"),
    (lambda s: s.update({"patch_embed.proj.weight": torch.zeros(3)}), "has no patch_embed.proj.weight"),
    (lambda s: s.update({"levels.2.transformer_encoder.999999.norm1.bias": torch.zeros(1)}), r"depths\[2\] = 1000000"),
    (lambda s: s.update({"levels.2.pos_embed": torch.zeros(1, 1, 16, 40)}), "widths 32, 64, 40 .*--heads"),
    (lambda s: s.update({"levels.0.pos_embed": torch.zeros(1, 16, 0, 32)}), "image_size = 0"),
    (lambda s: s.update({"norm.bias": torch.zeros(128, dtype=torch.int64)}), "norm.bias is I64"),
    (lambda s: s.update({"norm.bias": torch.zeros(128, dtype=torch.complex64)}), "norm.bias is .* torch.complex64"),
    (lambda s: s.update({"norm.bias": torch.zeros(128).to_sparse()}), "norm.bias is a tensor of .*sparse"),
    (lambda s: s.update({"epoch": 3}), "no state dict: these are no tensors: epoch$"),
])
def test_errors_name_what_is_wrong(tmp_path, change, message):
    state = made_up(micro_shapes())
    change(state)
    with pytest.raises(ValueError, match=message) as error:
        convert(saved(tmp_path / "a.pth", state), tmp_path / "b.safetensors")
    assert str(error.value).startswith(str(tmp_path / "a.pth: ")) and "\n" not in str(error.value)
    assert os.listdir(tmp_path) == ["a.pth"]


@pytest.mark.parametrize("content, message", [(torch.zeros(3), "it holds a Tensor"), ({}, "it has no names"),
                                              ({3: torch.zeros(1)}, "it has no names"), ([1, 2], "it holds a list"),
                                              ({"state_dict": {"a": 1}, "b": 2}, "no tensors: state_dict, b$")])
def test_what_is_no_state_dict(tmp_path, content, message):
    with pytest.raises(ValueError, match=f"a.pth: no state dict: .*{message}"):
        convert(saved(tmp_path / "a.pth", content), tmp_path / "b.safetensors")


def test_partial_takes_any(tmp_path):
    state = {"anything": torch.arange(6).reshape(2, 3), "nothing": torch.zeros(0, 3), "one": torch.tensor(True)}
    convert(saved(tmp_path / "a.pth", state), tmp_path / "b.safetensors", partial=True)
    convert(tmp_path / "b.safetensors", tmp_path / "c.pth", partial=True)
    found = torch.load(tmp_path / "c.pth", weights_only=True)
    assert_same({name: found[name] for name in state}, state)


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("old_format", [False, True])
@pytest.mark.parametrize("around", [lambda trap: trap, lambda trap: {**made_up(micro_shapes()), "x": trap}])
def test_a_hostile_pickle_is_not_executed(tmp_path, old_format, around):
    torch.save(around(Trap(tmp_path / "sprung")), tmp_path / "a.pth", _use_new_zipfile_serialization=not old_format)
    with pytest.raises(ValueError, match="holds (posix|os).mkdir, not tensors alone"):
        convert(tmp_path / "a.pth", tmp_path / "b.safetensors")
    assert os.listdir(tmp_path) == ["a.pth"]
    with pytest.raises(Exception):  # the trap is one
        torch.load(tmp_path / "a.pth", weights_only=False)["none"]
    assert (tmp_path / "sprung").is_dir()


def test_a_plain_hostile_pickle_is_not_executed(tmp_path):
    (tmp_path / "a.pth").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(ValueError, match="a.pth: "):
        convert(tmp_path / "a.pth", tmp_path / "b.safetensors")
    assert not (tmp_path / "sprung").exists()


def test_tensors_larger_than_the_file(tmp_path):
    state = {**made_up(micro_shapes()), "norm.bias": torch.zeros(1).expand(1 << 40)}
    with pytest.raises(ValueError, match="would take 4398.* bytes, more than the file has"):
        convert(saved(tmp_path / "a.pth", state), tmp_path / "b.safetensors")


def test_a_packed_archive(tmp_path, micro):
    with zipfile.ZipFile(micro) as old, zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(ValueError, match="is compressed"):
        convert(tmp_path / "a.pth", tmp_path / "b.safetensors")


def test_damaged_files(tmp_path, micro):
    convert(micro, tmp_path / "m.safetensors")
    for file in (micro, tmp_path / "m.safetensors"):
        whole = file.read_bytes()
        for length in (0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1):
            (tmp_path / "cut").write_bytes(whole[:length])
            with pytest.raises(ValueError, match="cut: ") as error:
                convert(tmp_path / "cut", tmp_path / "out.safetensors")
            assert "\n" not in str(error.value)
    whole = bytearray((tmp_path / "m.safetensors").read_bytes())
    whole[8 + int.from_bytes(whole[:8], "little")] ^= 1  # the first tensor's first bit
    (tmp_path / "flipped.safetensors").write_bytes(whole)
    with pytest.raises(ValueError, match="damaged"):
        _network.read_model(tmp_path / "flipped.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("header", [
    "[]", "{", '{"a":1}', '{"a":{"dtype":"F32","shape":[2]}}', '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}',
    '{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', '{"a":{"dtype":"Q8","shape":[2],"data_offsets":[0,8]}}',
    '{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}',
    '{"a":{"dtype":"F32","shape":[2e0],"data_offsets":[0,8]}}',
    '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
    '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', '{"__metadata__":{"x":1}}', '{"a":' + "[" * 100_000,
    '{"a":{"dtype":[],"shape":[2],"data_offsets":[0,8]}}'])
def test_headers_that_lie(tmp_path, header):
    text = header.encode()
    (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + b"\0" * 8)
    with pytest.raises(ValueError, match="not a valid safetensors file"):
        _weights.read_safetensors(tmp_path / "a.safetensors")


@pytest.mark.parametrize("config", ["{}", "[", "3", '{"dims":null}', {"depths": [1, 1, 10**9]}, {"patch": 0},
                                    {"bits": 0}, {"dims": [32, 64]}, {"heads": [0, 2, 4]}, {"image_size": "32"}])
def test_configs_that_lie(tmp_path, micro, config):
    convert(micro, tmp_path / "m.safetensors")
    tensors, metadata = _weights.read_safetensors(tmp_path / "m.safetensors")
    text = config if isinstance(config, str) else json.dumps({**json.loads(MICRO.to_json()), **config})
    _weights.write_safetensors(tmp_path / "n.safetensors", tensors, {**metadata, "config": text})
    with pytest.raises(ValueError, match="n.safetensors: its config: "):
        _network.read_model(tmp_path / "n.safetensors")


def test_names_cannot_write_to_the_terminal(tmp_path, capsys):
    saved(tmp_path / "a.pth", {"a\n\x1b[2J": torch.zeros(1), **made_up(micro_shapes())})
    assert main([str(tmp_path / "a.pth"), str(tmp_path / "b.safetensors")]) == 2
    assert capsys.readouterr().err == f"hybridhash.convert: {tmp_path}/a.pth: unexpected: a??[2J\n"


def test_without_pytorch_or_with_an_old_one(tmp_path, micro, monkeypatch, capsys):
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    with pytest.raises(ImportError, match="use 2.6 or newer"):
        convert(micro, tmp_path / "b.safetensors")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main([str(micro), str(tmp_path / "b.safetensors")]) == 2
    assert capsys.readouterr().err == "hybridhash.convert: files of PyTorch need PyTorch: pip install torch\n"


def test_pipes_are_written_and_links_stay(tmp_path, micro):
    convert(micro, tmp_path / "b.safetensors")
    whole = (tmp_path / "b.safetensors").read_bytes()
    os.mkfifo(tmp_path / "pipe.safetensors")
    received = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe.safetensors").read_bytes()))
    reader.start()
    convert(micro, tmp_path / "pipe.safetensors")
    reader.join()
    assert received == [whole] and (tmp_path / "pipe.safetensors").is_fifo()
    os.symlink("b.safetensors", tmp_path / "link.safetensors")
    os.chmod(tmp_path / "b.safetensors", 0o600)
    convert(tmp_path / "b.safetensors", tmp_path / "c.pth")
    convert(tmp_path / "c.pth", tmp_path / "link.safetensors")
    assert (tmp_path / "link.safetensors").is_symlink() and (tmp_path / "b.safetensors").read_bytes() == whole
    assert (tmp_path / "b.safetensors").stat().st_mode & 0o777 == 0o600


def test_command(tmp_path, micro, capsys):
    assert main([str(micro), str(tmp_path / "b.safetensors"), "--resize", "exact", "--heads", "1,2,4"]) == 0
    assert "85 tensors: a model, 20 bits" in capsys.readouterr().out
    for wrong in ([str(micro), str(tmp_path / "b.npy")], [str(tmp_path / "none.pth"), str(tmp_path / "c.pth")],
                  [str(micro), str(tmp_path / "none/c.safetensors")], [__file__, str(tmp_path / "c.pth")],
                  [str(tmp_path), str(tmp_path / "c.pth")]):
        assert main(wrong) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == ["b.safetensors", "micro.pth"]

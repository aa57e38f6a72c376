# SPDX-License-Identifier: Apache-2.0
"""Weights of the authors' PyTorch code or of timm to safetensors, and back.

    python -m hybridhash.convert hybridhash_64bits.pth model.safetensors
    python -m hybridhash.convert jx_nest_base.pth nest_base.safetensors      # for train.weights
    python -m hybridhash.convert runs/mine/best.safetensors mine.pth

A state dict with all of the network's tensors becomes a model file, whose metadata say how to build and feed it; one
without the hash layer (timm's NesT) becomes plain weights, which a recipe's ``train.weights`` takes. All tensors go
through bit for bit, under their names, both ways. .pth needs PyTorch, which reads it as tensors alone: no code in it
is run.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
import warnings
import zipfile
from collections import OrderedDict
from typing import Any, Mapping, Sequence

import numpy as np

from ._network import (CHECKPOINT_FORMAT, MODEL_FORMAT, MODEL_KEYS, UNUSED, Config, check, listed, nest_shapes,
                       network_shapes, parameters, weights_sha256)
from ._weights import (ELEMENT_BYTES, Tensor, is_safetensors, one_line, read_safetensors, write_atomically,
                       write_safetensors)

_TORCH_ENDINGS = (".pth", ".pt", ".bin")
_TORCH_TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64",
                "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16",
                "U8": "uint8", "BOOL": "bool"}
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
#: A state dict's attribute that keeps a model's metadata in a .pth; load_state_dict() doesn't see it.
_ATTRIBUTE = "hybridhash"
RESIZES = ("shorter_side", "exact", "none")
#: Of weights whose data nobody knows; a part of the data (encode --part) asks for data.path then.
_RECIPE = '[data]\nprotocol = "lists"\nexif_orientation = false\n'
_HEAD_WIDTH = 32  # of all published NesT and HybridHash networks; tensors don't tell it


def convert(source: str | os.PathLike[str], target: str | os.PathLike[str], *,
            heads: Sequence[int] | None = None, resize: str = "shorter_side", class_names: Sequence[str] = (),
            partial: bool = False, fill_unused: bool = False) -> str:
    """Converts ``source`` by the ending of ``target``, .safetensors or .pth (.pt, .bin); returns a line of what was done.

    Of a file that doesn't say it itself, as ours do:
    heads        of each level's attention; otherwise dims / 32, as published
    resize       how photographs are fed: "shorter_side" to 256 for 224 pixels, and the centre (the authors' data but
                 CIFAR-10); "exact", both sides to the network's (CIFAR-10); "none"
    class_names  of its classes

    partial      whatever tensors there are, as plain weights
    fill_unused  to .pth: also FcLayer, as zeros if it isn't there, without which the authors' load_state_dict() asks
                 for strict=False

    ValueError (one line: the file and, by name, what is missing or too much), OSError, ImportError without PyTorch.
    """
    source, target = os.fspath(source), os.fspath(target)
    if resize not in RESIZES:
        raise ValueError(f"resize = {resize!r}: use {', '.join(RESIZES)}")
    to_torch = target.endswith(_TORCH_ENDINGS)
    if not to_torch and not target.endswith(".safetensors"):
        raise ValueError(f"{target}: end it in .safetensors or {', '.join(_TORCH_ENDINGS)}")
    tensors, metadata = _read(source)
    try:
        model = {} if partial else _model_metadata(tensors, metadata, heads, resize, class_names)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    if to_torch:
        if fill_unused and model:
            config = Config.from_json(model["config"])
            for name, shape in zip(UNUSED, ((config.bits, config.dims[2]), (config.bits,))):
                tensors.setdefault(name, Tensor("F32", shape, np.zeros(4 * math.prod(shape), np.uint8)))
        _write_torch(target, tensors, model)
    else:
        write_safetensors(target, tensors, {"format": MODEL_FORMAT, **model} if model else {})
    what = f"a model, {Config.from_json(model['config']).bits} bits" if model else "plain weights, for train.weights"
    if to_torch and model and UNUSED[0] not in tensors:
        what += "; without FcLayer, so load_state_dict(..., strict=False), or use fill_unused (--fill-unused)"
    return f"{target}: {len(tensors)} tensors: {what}"


def _read(path: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Weights, and the metadata of a model where they are known."""
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except OSError as error:
        raise type(error)(f"{path}: {error.strerror}: give a .pth of PyTorch or a safetensors file") from None
    if is_safetensors(start):
        tensors, metadata = read_safetensors(path)
        tensors = {name: one for name, one in tensors.items() if not name.startswith(("optimizer.", "bank."))}
        known = metadata.get("format") in (MODEL_FORMAT, CHECKPOINT_FORMAT)
        return tensors, metadata if known else {}
    if start[:4] == b"PK\x03\x04" or start[:1] == b"\x80":
        return _read_torch(path)
    raise ValueError(f"{path}: neither a .pth of PyTorch nor a safetensors file")


def _model_metadata(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], heads: Sequence[int] | None,
                    resize: str, class_names: Sequence[str]) -> dict[str, str]:
    """A model's metadata; {} for weights of NesT. ValueError for everything else."""
    if metadata:
        absent = [key for key in MODEL_KEYS if key not in metadata and key != "exif_orientation"]
        if absent:
            raise ValueError(f"its metadata has no {listed(absent)}")
        config = Config.from_json(metadata["config"])
        check(tensors, network_shapes(config), UNUSED)
        found = {key: metadata[key] for key in MODEL_KEYS if key in metadata}
    else:
        config = _config_of(tensors, heads)
        if not any(name.startswith("hashlayer_train.") for name in tensors):
            check(tensors, nest_shapes(config), ("head.weight", "head.bias"))
            return {}
        check(tensors, network_shapes(config), UNUSED)
        size = config.image_size
        transform = {"size": size, "channels": config.in_channels, "resize": resize,
                     "resize_to": (size * 8 + 3) // 7 if resize == "shorter_side" else size,  # 256 for 224
                     "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
        found = {"config": config.to_json(), "transform": json.dumps(transform, separators=(",", ":")),
                 "exif_orientation": "false", "class_names": json.dumps(list(class_names), ensure_ascii=False),
                 "protocol": "lists", "recipe": _RECIPE}
    # Weights may have been changed in PyTorch, so the sum is always a new one.
    return {**found, "weights_sha256": weights_sha256(parameters(tensors, config))}


def _config_of(tensors: Mapping[str, Tensor], heads: Sequence[int] | None) -> Config:
    """Sizes by the shapes of a few tensors; all the others are checked against them later."""
    axes = {"patch_embed.proj.weight": 4, **{f"levels.{level}.pos_embed": 4 for level in range(3)}}
    absent = [name for name, rank in axes.items() if name not in tensors or len(tensors[name].shape) != rank]
    if absent:
        raise ValueError(f"no state dict of HybridHash or NesT: it has no {listed(absent)}, but "
                         f"{listed(list(tensors), 4) or 'nothing'} (partial, by --partial, takes any tensors)")
    _, in_channels, patch, _ = tensors["patch_embed.proj.weight"].shape
    side = math.isqrt(tensors["levels.0.pos_embed"].shape[2])
    dims = tuple(tensors[f"levels.{level}.pos_embed"].shape[3] for level in range(3))
    depths = [0, 0, 0]
    for name in tensors:
        layer = re.match(r"levels\.([0-2])\.transformer_encoder\.(\d{1,6})\.", name)
        if layer:
            depths[int(layer[1])] = max(depths[int(layer[1])], int(layer[2]) + 1)
    if heads is None:
        if any(dim % _HEAD_WIDTH for dim in dims):
            raise ValueError(f"widths {', '.join(map(str, dims))} aren't of heads {_HEAD_WIDTH} wide: give the heads "
                             "of each level (heads, by --heads)")
        heads = [dim // _HEAD_WIDTH for dim in dims]
    last = tensors.get("hashlayer_train.conv2.weight")
    config = Config(4 * side * patch, patch, in_channels, dims, tuple(heads), tuple(depths),
                    last.shape[0] if last is not None and last.shape else 1, 0.5)  # 0.5: the reference class's own
    config.validate()
    return config


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise ImportError("files of PyTorch need PyTorch: pip install torch") from None
    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < (2, 6):  # before it weights_only could be got round: CVE-2025-32434
        raise ImportError(f"PyTorch {torch.__version__} can be made to run code of a file: use 2.6 or newer")
    return torch


def _read_torch(path: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    torch = _torch()
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                packed = [one.filename for one in file.infolist() if one.compress_type != zipfile.ZIP_STORED]
            if packed:  # PyTorch never packs; what is packed could unpack to any size
                raise ValueError(f"its part {packed[0]!r} is compressed, as PyTorch doesn't write it")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that are refused anyway
            loaded = torch.load(path, map_location="cpu", weights_only=True)
        state = _state_dict(torch, loaded)
        # A tensor may claim more elements than are stored, by strides of 0.
        total = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
        if total > os.path.getsize(path):
            raise ValueError(f"its tensors would take {total} bytes, more than the file has")
        tensors = {name: _from_torch(torch, name, tensor) for name, tensor in state.items()}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    except (MemoryError, OSError, ImportError):
        raise
    except Exception as error:  # PyTorch raises what it likes: UnpicklingError, RuntimeError, EOFError, KeyError, ...
        names = re.findall(r"GLOBAL ([\w.]+)", str(error))
        if names:
            raise ValueError(f"{path}: it holds {names[0]}, not tensors alone, and isn't read; save "
                             "net.state_dict() from the program that made it") from None
        reason = str(error).strip().split("\n")[0][:200]
        raise ValueError(f"{path}: PyTorch can't read it: {type(error).__name__}: {reason}") from None
    metadata = getattr(loaded, _ATTRIBUTE, None)
    known = isinstance(metadata, dict) and all(isinstance(text, str) for pair in metadata.items() for text in pair)
    return tensors, metadata if known else {}


def _state_dict(torch: Any, loaded: Any) -> dict[str, Any]:
    """The dictionary of tensors, which some programs put into another one; DataParallel's prefix is taken off."""
    candidates = [loaded] + [loaded[key] for key in _WRAPPERS if isinstance(loaded, dict) and key in loaded]
    for state in candidates:
        if isinstance(state, dict) and state and all(
                isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in state.items()):
            prefix = "module." if all(name.startswith("module.") for name in state) else ""
            return {name[len(prefix):]: tensor for name, tensor in state.items()}
    if not isinstance(loaded, dict):
        raise ValueError(f"no state dict: it holds a {type(loaded).__name__}")
    others = [key for key, value in loaded.items() if isinstance(key, str) and not isinstance(value, torch.Tensor)]
    raise ValueError(f"no state dict: {'these are no tensors: ' + listed(others) if others else 'it has no names'}")


def _from_torch(torch: Any, name: str, tensor: Any) -> Tensor:
    kinds = {getattr(torch, theirs): ours for ours, theirs in _TORCH_TYPES.items()}
    if tensor.dtype not in kinds or tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise ValueError(f"{name} is a tensor of {tensor.dtype}, {tensor.layout}, {tensor.device}: dense numbers are "
                         "taken")
    flat = tensor.detach().reshape(-1)  # copies where the order in memory is another
    return Tensor(kinds[tensor.dtype], tuple(tensor.shape), flat.view(torch.uint8).numpy())


def _write_torch(path: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    torch = _torch()
    state: OrderedDict[str, Any] = OrderedDict()
    for name, tensor in tensors.items():
        values = np.empty(tensor.data.size // ELEMENT_BYTES[tensor.dtype], f"u{ELEMENT_BYTES[tensor.dtype]}")
        values.view(np.uint8)[:] = tensor.data
        state[name] = torch.from_numpy(values).view(getattr(torch, _TORCH_TYPES[tensor.dtype])).reshape(tensor.shape)
    if metadata:
        setattr(state, _ATTRIBUTE, dict(metadata))
    write_atomically(path, lambda file: torch.save(state, file))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m hybridhash.convert", description=__doc__.split("\n")[0])
    parser.add_argument("source", metavar="IN", help=".pth of PyTorch, or safetensors")
    parser.add_argument("target", metavar="OUT", help=".safetensors or .pth")
    parser.add_argument("--heads", type=lambda text: [int(n) for n in text.split(",")], metavar="4,8,16",
                        help="heads of each level's attention; otherwise widths / 32")
    parser.add_argument("--resize", choices=RESIZES, default="shorter_side",
                        help="how photographs are fed: exact for CIFAR-10")
    parser.add_argument("--class-name", action="append", default=[], metavar="NAME", help="of each class, in order")
    parser.add_argument("--partial", action="store_true", help="whatever tensors there are, as plain weights")
    parser.add_argument("--fill-unused", action="store_true", help="to .pth: also FcLayer, as the authors' class has")
    o = parser.parse_args(arguments)
    try:
        print(convert(o.source, o.target, heads=o.heads, resize=o.resize, class_names=o.class_name, partial=o.partial,
                      fill_unused=o.fill_unused))
    except (ValueError, OSError, ImportError, MemoryError) as error:
        print(f"hybridhash.convert: {one_line(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

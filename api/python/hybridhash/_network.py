# SPDX-License-Identifier: Apache-2.0
"""The network's sizes and tensors by name, and model files. Source: docs/specification.md, docs/formats.md."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import asdict, dataclass
from typing import Any, Iterable, Mapping, NamedTuple

import numpy as np

from ._weights import Tensor, read_safetensors, shape_text

MODEL_FORMAT = "hybridhash model 1"
CHECKPOINT_FORMAT = "hybridhash checkpoint 1"
#: What turns an image into a code, in a model's metadata: strings, some of them JSON.
MODEL_KEYS = ("config", "transform", "exif_orientation", "class_names", "protocol", "recipe")
UNUSED = ("FcLayer.weight", "FcLayer.bias")  #: the reference has them, and no use for them
INTERACTION_HEADS = 8


@dataclass(frozen=True)
class Config:
    """Sizes of a network; everything else follows from them. Levels are 0, 1, 2."""

    image_size: int
    patch: int
    in_channels: int
    dims: tuple[int, ...]
    heads: tuple[int, ...]
    depths: tuple[int, ...]
    bits: int
    drop_path: float

    @property
    def grid(self) -> int:
        """Tokens per side of level 0."""
        return self.image_size // self.patch

    @property
    def block_side(self) -> int:
        return self.grid // 4

    @property
    def block_tokens(self) -> int:
        return self.block_side**2

    @classmethod
    def from_json(cls, text: str) -> Config:
        """ValueError for what is no configuration, or past the program's limits."""
        try:
            values = json.loads(text)
            config = cls(**{name: tuple(values[name]) if name in ("dims", "heads", "depths") else values[name]
                            for name in cls.__dataclass_fields__})
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"its config: {type(error).__name__}: {error}") from None
        config.validate()
        return config

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    def validate(self) -> None:
        """The program's limits. ValueError with the field and its value."""

        def require(right: bool, what: str) -> None:
            if not right:
                raise ValueError(f"its config: {what}")

        numbers = (self.image_size, self.patch, self.in_channels, self.bits, *self.dims, *self.heads, *self.depths)
        require(all(type(n) is int for n in numbers) and len(self.dims) == len(self.heads) == len(self.depths) == 3,
                "sizes are whole numbers, three of dims, heads and depths")
        require(1 <= self.patch <= 64, f"patch = {self.patch}: use 1 to 64")
        require(4 * self.patch <= self.image_size <= 4096 and self.image_size % (4 * self.patch) == 0,
                f"image_size = {self.image_size}: use a multiple of 4 * patch = {4 * self.patch}, at most 4096")
        require(self.block_tokens <= 1024, f"blocks of {self.block_tokens} tokens: at most 1024")
        require(1 <= self.in_channels <= 4, f"in_channels = {self.in_channels}: use 1 to 4")
        for level, (dim, heads, depth) in enumerate(zip(self.dims, self.heads, self.depths)):
            require(8 <= dim <= 1024 and dim % INTERACTION_HEADS == 0,
                    f"dims[{level}] = {dim}: use a multiple of 8 from 8 to 1024")
            require(heads >= 1 and dim % heads == 0 and dim // heads <= 128,
                    f"heads[{level}] = {heads}: it must divide dims[{level}] = {dim} into heads at most 128 wide")
            require(1 <= depth <= 64, f"depths[{level}] = {depth}: use 1 to 64")
        require(1 <= self.bits <= 512, f"bits = {self.bits}: use 1 to 512")
        require(isinstance(self.drop_path, (int, float)) and 0 <= self.drop_path < 1,
                f"drop_path = {self.drop_path}: use 0 to < 1")


def nest_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """What timm's NesT of these sizes has too, without its head."""
    c = config
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embed.proj.weight": (c.dims[0], c.in_channels, c.patch, c.patch), "patch_embed.proj.bias": (c.dims[0],)}
    for level, dim in enumerate(c.dims):
        prefix = f"levels.{level}."
        shapes[prefix + "pos_embed"] = (1, 16 >> 2 * level, c.block_tokens, dim)
        if level > 0:
            shapes[prefix + "pool.conv.weight"] = (dim, c.dims[level - 1], 3, 3)
            shapes.update({prefix + "pool.conv.bias": (dim,), prefix + "pool.norm.weight": (dim,),
                           prefix + "pool.norm.bias": (dim,)})
        for j in range(c.depths[level]):
            layer = f"{prefix}transformer_encoder.{j}."
            for name, out, into in (("attn.qkv", 3 * dim, dim), ("attn.proj", dim, dim), ("mlp.fc1", 4 * dim, dim),
                                    ("mlp.fc2", dim, 4 * dim)):
                shapes.update({f"{layer}{name}.weight": (out, into), f"{layer}{name}.bias": (out,)})
            for norm in ("norm1", "norm2"):
                shapes.update({f"{layer}{norm}.weight": (dim,), f"{layer}{norm}.bias": (dim,)})
    shapes.update({"norm.weight": (c.dims[2],), "norm.bias": (c.dims[2],)})
    return shapes


def network_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Every parameter of HybridHash."""
    c = config
    shapes = nest_shapes(c)

    def attention(prefix: str, dim: int, tokens: int) -> None:
        shapes.update({prefix + "pos_embed_glo": (1, tokens, dim), prefix + "qkv.weight": (3 * dim, dim),
                       prefix + "proj.weight": (dim, dim), prefix + "proj.bias": (dim,)})

    for level in (1, 2):
        shapes[f"levels.{level}.pool.conv_glo.weight"] = (c.dims[level], c.dims[level - 1], 1, 1)
        attention(f"levels.{level}.pool.global_attention.", c.dims[level], 64 >> 2 * level)
    dim, hashing = c.dims[2], "hashlayer_train."
    for name, out, rows, columns in (("convS1", dim, 1, 3), ("convS2", dim, 3, 1), ("conv2", c.bits, 1, 1)):
        shapes.update({f"{hashing}{name}.weight": (out, dim, rows, columns), f"{hashing}{name}.bias": (out,)})
    attention(hashing + "global_attention.", dim, 1)
    return shapes


def check(tensors: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]], also: Iterable[str]) -> None:
    """ValueError with the names of all that is missing, too much (but for ``also``), or of another shape."""
    missing = [name for name in wanted if name not in tensors]
    unexpected = sorted(set(tensors) - set(wanted) - set(also))
    other = [f"{name} is {shape_text(tensors[name].shape)}, not {shape_text(shape)}"
             for name, shape in wanted.items() if name in tensors and tensors[name].shape != tuple(shape)]
    wrong = [f"{what}: {listed(names)}" for what, names in
             (("missing", missing), ("unexpected", unexpected), ("of another shape", other)) if names]
    if wrong:
        raise ValueError("; ".join(wrong))


def listed(names: list[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def weights_sha256(floats: Mapping[str, np.ndarray]) -> str:
    """Of names, shapes and float32 values, as model files carry it; its first 16 digits are the model hash."""
    sha = hashlib.sha256()
    for name in sorted(floats):
        sha.update(f"{name} {shape_text(floats[name].shape)}\n".encode())
        sha.update(np.ascontiguousarray(floats[name], "<f4").data)
    return sha.hexdigest()


def parameters(tensors: Mapping[str, Tensor], config: Config) -> dict[str, np.ndarray]:
    """The network's own tensors as float32."""
    found = {}
    for name in network_shapes(config):
        try:
            found[name] = tensors[name].floats()
        except ValueError as error:
            raise ValueError(f"{name} is {error}") from None
    return found


class ModelFile(NamedTuple):
    config: Config
    transform: "dict[str, Any]"  #: how an image becomes pixels: size, channels, resize, resize_to, mean, std
    metadata: "dict[str, str]"  #: MODEL_KEYS and weights_sha256
    weights: "dict[str, np.ndarray]"  #: float32, by the reference's names


def read_model(path: str | os.PathLike[str]) -> ModelFile:
    """A model file or checkpoint. ValueError, which starts with the path; OSError."""
    tensors, metadata = read_safetensors(path)
    try:
        if metadata.get("format") not in (MODEL_FORMAT, CHECKPOINT_FORMAT):
            raise ValueError("no model of ours: python -m hybridhash.convert makes one of a state dict")
        absent = [key for key in ("config", "transform") if key not in metadata]
        if absent:
            raise ValueError(f"its metadata has no {listed(absent)}")
        config = Config.from_json(metadata["config"])
        weights = {name: t for name, t in tensors.items() if not name.startswith(("optimizer.", "bank."))}
        check(weights, network_shapes(config), UNUSED)
        floats = parameters(weights, config)
        sha = weights_sha256(floats)
        if metadata.get("weights_sha256", sha) != sha:
            raise ValueError("the weights aren't those that were saved: the file is damaged")
        transform = _transform(metadata["transform"], config)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None
    kept = {key: metadata[key] for key in MODEL_KEYS if key in metadata}
    return ModelFile(config, transform, {**kept, "weights_sha256": sha}, floats)


def _transform(text: str, config: Config) -> dict[str, Any]:
    try:
        transform = json.loads(text)
        statistics = [float(transform[key][c]) for key in ("mean", "std") for c in range(transform["channels"])]
        right = (transform["size"], transform["channels"]) == (config.image_size, config.in_channels) and \
            all(map(math.isfinite, statistics)) and min(statistics[len(statistics) // 2:]) > 0
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ValueError(f"its transform: {type(error).__name__}: {error}") from None
    if not right:
        raise ValueError(f"its transform {text} doesn't make what its network takes")
    return transform

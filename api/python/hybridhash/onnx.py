# SPDX-License-Identifier: Apache-2.0
"""A model as an ONNX graph, for ONNX Runtime, OpenVINO and others; needs the package ``onnx``.

    python -m hybridhash.onnx runs/mine/best.safetensors mine.onnx
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any, Sequence

import numpy as np

from ._network import INTERACTION_HEADS, ModelFile, read_model
from ._weights import one_line, write_atomically

INPUTS = ("pixels", "normalised")
OUTPUTS = ("both", "codes", "outputs")
_MIN_OPSET = 17  # the first with LayerNormalization
_GELU_OPSET = 20  # the first with Gelu; before it, its formula
_MAX_BYTES = 2_000_000_000  # of a protobuf file, below 2 GiB


def export(model_path: "str | os.PathLike[str]", out_path: "str | os.PathLike[str]", batch: "int | None" = None,
           opset: int = _MIN_OPSET, outputs: str = "both", inputs: str = "pixels") -> None:
    """Writes to ``out_path`` the network of the model file or checkpoint ``model_path``, in float32.

    batch    images at once; None: any number
    opset    17 or newer, of those that the installed package knows
    inputs   "pixels":     uint8 [n, S, S, C], what the model's transform makes of photographs; normalised in the graph
             "normalised": float32 [n, C, S, S], normalised before
    outputs  "outputs":    float32 [n, bits] in (-1, 1)
             "codes":      uint8 [n, ceil(bits / 8)], packed as everywhere: bit j is byte[j // 8] >> (j % 8) & 1
             "both"

    Transform, sizes, class names and model hash go along as metadata, their names starting with "hybridhash.".
    ValueError (what was given, or the file), OSError, ImportError without the package onnx.
    """
    try:
        import onnx
        import onnx.numpy_helper
    except ImportError:
        raise ImportError("ONNX needs the package onnx: pip install onnx") from None
    newest = onnx.defs.onnx_opset_version()
    if not _MIN_OPSET <= opset <= newest:
        raise ValueError(f"opset = {opset}: use {_MIN_OPSET} to {newest}")
    if batch is not None and batch < 1:
        raise ValueError(f"batch = {batch}: use 1 or more, or none for any number")
    for name, value, known in (("inputs", inputs, INPUTS), ("outputs", outputs, OUTPUTS)):
        if value not in known:
            raise ValueError(f"{name} = {value!r}: use {', '.join(known)}")
    model = read_model(model_path)
    network = _Network(model, opset)
    result = network.build(inputs)
    if outputs != "outputs":
        network.pack(result)
    c, rows = model.config, "batch" if batch is None else batch
    kinds, helper = onnx.TensorProto, onnx.helper
    taken = [kinds.UINT8, [rows, c.image_size, c.image_size, c.in_channels]] if inputs == "pixels" else \
        [kinds.FLOAT, [rows, c.in_channels, c.image_size, c.image_size]]
    given = {"outputs": [kinds.FLOAT, [rows, c.bits]], "codes": [kinds.UINT8, [rows, (c.bits + 7) // 8]]}
    graph = helper.make_graph(
        [helper.make_node(*node[:3], name=node[2][0], **node[3]) for node in network.nodes], "hybridhash",
        [helper.make_tensor_value_info(inputs, *taken)],
        [helper.make_tensor_value_info(name, *given[name]) for name in given if outputs in ("both", name)],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in network.constants.items()])
    versions = [helper.make_opsetid("", opset)]
    made = helper.make_model(graph, producer_name="hybridhash", opset_imports=versions,
                             ir_version=helper.find_min_ir_version_for(versions))
    helper.set_model_props(made, {
        **{f"hybridhash.{key}": value for key, value in model.metadata.items() if key not in ("recipe", "protocol")},
        "hybridhash.model_hash": model.metadata["weights_sha256"][:16]})
    size = made.ByteSize()
    if size > _MAX_BYTES:
        raise ValueError(f"{os.fspath(model_path)}: its graph would take {size} bytes, but one file holds {_MAX_BYTES}")
    write_atomically(out_path, lambda file: file.write(made.SerializeToString(deterministic=True)))


class _Network:
    """The nodes and constants of docs/specification.md, section 1. Images are channels first here, tokens [n, tokens,
    channels]; a value is named by what it is, and a method returns the name of its result."""

    def __init__(self, model: ModelFile, opset: int) -> None:
        self.model, self.c, self.weights, self.opset = model, model.config, model.weights, opset
        self.nodes: "list[tuple[str, list[str], list[str], dict[str, Any]]]" = []
        self.constants: "dict[str, np.ndarray]" = {}

    def build(self, inputs: str) -> str:
        c, b = self.c, self.c.block_side
        x = self.normalised(inputs) if inputs == "pixels" else inputs
        x = self.conv(x, "patch_embed.proj", strides=[c.patch, c.patch])
        for level in range(3):
            prefix, grid, dim = f"levels.{level}.", 4 >> level, c.dims[level]
            if level > 0:
                x = self.interaction(x, prefix + "pool.", 2 * grid, dim)
            x = self.reshape(x, [0, dim, grid, b, grid, b], prefix + "split")
            x = self.node("Transpose", [x], prefix + "blocks", perm=[0, 2, 4, 3, 5, 1])
            x = self.reshape(x, [-1, grid * grid, b * b, dim], prefix + "blockify")
            x = self.node("Add", [x, self.weight(prefix + "pos_embed")], prefix + "tokens")
            x = self.reshape(x, [-1, b * b, dim], prefix + "tokens_in")  # a block is a row: all are alike to a layer
            for j in range(c.depths[level]):
                x = self.layer(x, f"{prefix}transformer_encoder.{j}.", c.heads[level])
            if level < 2:
                x = self.reshape(x, [-1, grid, grid, b, b, dim], prefix + "join")
                x = self.node("Transpose", [x], prefix + "image", perm=[0, 5, 1, 3, 2, 4])
                x = self.reshape(x, [-1, dim, grid * b, grid * b], prefix + "deblockify")
        x = self.layer_norm(x, "norm")  # one block: its token order is the image's
        x = self.node("Transpose", [x], "norm.channels", perm=[0, 2, 1])
        return self.hash_layer(self.reshape(x, [0, c.dims[2], b, b], "norm.image"))

    def normalised(self, pixels: str) -> str:
        """(pixel / 255 - mean) / std in the program's order of operations, so with its bits."""
        channels = self.c.in_channels
        mean, std = (np.float32(self.model.transform[key][:channels]) for key in ("mean", "std"))
        x = self.node("Cast", [pixels], "pixels.float", to=1)  # TensorProto.FLOAT
        scale = self.constant("pixels.scale", np.float32(1) / (np.float32(255) * std))
        x = self.node("Mul", [x, scale], "pixels.scaled")
        x = self.node("Sub", [x, self.constant("pixels.shift", mean / std)], "pixels.normalised")
        return self.node("Transpose", [x], "pixels.channels_first", perm=[0, 3, 1, 2])

    def layer(self, x: str, prefix: str, heads: int) -> str:
        """x + attn(norm1(x)), and that plus mlp(norm2(that))."""
        attended = self.attention(self.layer_norm(x, prefix + "norm1"), prefix + "attn.", heads)
        x = self.node("Add", [x, attended], prefix + "attended")
        hidden = self.linear(self.layer_norm(x, prefix + "norm2"), prefix + "mlp.fc1")
        hidden = self.linear(self.gelu(hidden, prefix + "mlp.gelu"), prefix + "mlp.fc2")
        return self.node("Add", [x, hidden], prefix + "out")

    def attention(self, x: str, prefix: str, heads: int) -> str:
        """Softmax attention over the tokens of each row. The reference's channel c of the result is e * heads + head;
        here the heads lie one after the other, and proj's columns are put in that order."""
        dim = self.weights[prefix + "proj.weight"].shape[0]
        qkv = self.linear(x, prefix + "qkv")
        parts = [prefix + part for part in "qkv"]
        self.nodes.append(("Split", [qkv, self.constant(f"thirds_{dim}", np.int64([dim] * 3))], parts, {"axis": -1}))
        q, k, v = (self.node("Transpose", [self.reshape(part, [0, 0, heads, dim // heads], part + ".split")],
                             part + ".heads", perm=perm)
                   for part, perm in zip(parts, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])))
        scale = self.constant(prefix + "scale", np.float32((dim // heads) ** -0.5))
        scores = self.node("MatMul", [self.node("Mul", [q, scale], prefix + "q.scaled"), k], prefix + "scores")
        shares = self.node("Softmax", [scores], prefix + "shares", axis=-1)
        x = self.node("MatMul", [shares, v], prefix + "weighted")
        x = self.node("Transpose", [x], prefix + "weighted.tokens", perm=[0, 2, 1, 3])
        return self.linear(self.reshape(x, [0, 0, dim], prefix + "weighted.joined"), prefix + "proj",
                           self.by_heads(prefix, heads))

    def by_heads(self, prefix: str, heads: int) -> np.ndarray:
        """proj.weight with its columns head after head."""
        weight = self.weights[prefix + "proj.weight"]
        dim = weight.shape[0]
        return weight.reshape(dim, dim // heads, heads).transpose(0, 2, 1).reshape(dim, dim)

    def interaction(self, x: str, prefix: str, side: int, dim: int) -> str:
        b = self.c.block_side
        local = self.conv(x, prefix + "conv", pads=[1] * 4)
        # Pooled first: a 1x1 convolution without bias commutes with a mean.
        z = self.node("AveragePool", [x], prefix + "pooled", kernel_shape=[b, b], strides=[b, b])
        z = self.conv(z, prefix + "conv_glo")
        # The channels-first memory read as tokens, as in the reference: no transposition here.
        z = self.reshape(z, [0, side * side, dim], prefix + "glo.tokens")
        z = self.node("Add", [z, self.weight(prefix + "global_attention.pos_embed_glo")], prefix + "glo.tokens_in")
        z = self.attention(z, prefix + "global_attention.", INTERACTION_HEADS)
        z = self.node("Transpose", [z], prefix + "glo.channels", perm=[0, 2, 1])
        z = self.reshape(z, [0, dim, side, side], prefix + "glo.image")
        if b > 1:
            z = self.node("Resize", [z, "", self.constant("enlarge", np.float32([1, 1, b, b]))], prefix + "enlarged",
                          mode="linear", coordinate_transformation_mode="half_pixel")
        x = self.node("Add", [local, z], prefix + "sum")
        x = self.node("Transpose", [x], prefix + "sum.channels_last", perm=[0, 2, 3, 1])
        x = self.node("Transpose", [self.layer_norm(x, prefix + "norm")], prefix + "norm.image", perm=[0, 3, 1, 2])
        return self.max_pool(x, prefix + "maxpool")

    def hash_layer(self, x: str) -> str:
        prefix, dim, bits = "hashlayer_train.", self.c.dims[2], self.c.bits
        local = self.conv(self.conv(x, prefix + "convS1", pads=[0, 1, 0, 1]), prefix + "convS2", pads=[1, 0, 1, 0])
        # Attention among one token: the result is proj of its value, whatever query and key are.
        attention = prefix + "global_attention."
        z = self.node("GlobalAveragePool", [x], prefix + "pooled")
        z = self.reshape(z, [0, dim], prefix + "glo.token")
        pos = self.constant(attention + "pos_embed_glo", self.weights[attention + "pos_embed_glo"].reshape(dim))
        z = self.node("Add", [z, pos], prefix + "glo.token_in")
        z = self.linear(z, attention + "value", self.weights[attention + "qkv.weight"][2 * dim:])
        z = self.linear(z, attention + "proj", self.by_heads(attention, INTERACTION_HEADS))
        z = self.reshape(z, [0, dim, 1, 1], prefix + "glo.image")
        x = self.max_pool(self.node("Add", [local, z], prefix + "sum"), prefix + "maxpool")
        # The mean first: it commutes with the 1x1 convolution conv2.
        x = self.reshape(self.node("GlobalAveragePool", [x], prefix + "mean"), [0, dim], prefix + "features")
        x = self.linear(x, prefix + "conv2", self.weights[prefix + "conv2.weight"].reshape(bits, dim))
        return self.node("Tanh", [x], "outputs")

    def pack(self, outputs: str) -> None:
        """codes: sums of distinct powers of two below 256, exact in float32 (and in bfloat16)."""
        bits = self.c.bits
        powers = np.zeros((bits, (bits + 7) // 8), np.float32)
        powers[np.arange(bits), np.arange(bits) // 8] = 2.0 ** (np.arange(bits) % 8)
        positive = self.node("Greater", [outputs, self.constant("zero", np.float32(0))], "bits")
        x = self.node("Cast", [positive], "bits.float", to=1)  # TensorProto.FLOAT
        x = self.node("MatMul", [x, self.constant("bits.powers", powers)], "bits.bytes")
        self.node("Cast", [x], "codes", to=2)  # TensorProto.UINT8

    def linear(self, x: str, name: str, weight: "np.ndarray | None" = None) -> str:
        """x W^T, plus the bias where there is one."""
        weight = self.weights[name + ".weight"] if weight is None else weight
        x = self.node("MatMul", [x, self.constant(name + ".weight_transposed", weight.T)], name + ".product")
        return self.node("Add", [x, self.weight(name + ".bias")], name) if name + ".bias" in self.weights else x

    def conv(self, x: str, name: str, **attributes: Any) -> str:
        terms = [self.weight(name + part) for part in (".weight", ".bias") if name + part in self.weights]
        return self.node("Conv", [x, *terms], name, kernel_shape=self.weights[name + ".weight"].shape[2:], **attributes)

    def layer_norm(self, x: str, name: str) -> str:
        terms = [self.weight(name + ".weight"), self.weight(name + ".bias")]
        return self.node("LayerNormalization", [x, *terms], name, axis=-1, epsilon=1e-6)

    def gelu(self, x: str, name: str) -> str:
        if self.opset >= _GELU_OPSET:
            return self.node("Gelu", [x], name)
        # In the form that runtimes know as one operation: 0.5 * (x * (1 + erf(x / sqrt(2)))).
        ratio = self.node("Div", [x, self.constant("sqrt_2", np.float32(2**0.5))], name + ".ratio")
        share = self.node("Add", [self.node("Erf", [ratio], name + ".erf"), self.constant("one", np.float32(1))],
                          name + ".share")
        double = self.node("Mul", [x, share], name + ".double")
        return self.node("Mul", [double, self.constant("half", np.float32(0.5))], name)

    def max_pool(self, x: str, name: str) -> str:
        return self.node("MaxPool", [x], name, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)

    def reshape(self, x: str, shape: "list[int]", name: str) -> str:
        """0 keeps an axis, -1 is whatever remains: so any batch fits."""
        return self.node("Reshape", [x, self.constant("shape_" + "_".join(map(str, shape)), np.int64(shape))], name)

    def node(self, op: str, inputs: "list[str]", name: str, **attributes: Any) -> str:
        self.nodes.append((op, inputs, [name], attributes))
        return name

    def weight(self, name: str) -> str:
        return self.constant(name, self.weights[name])

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants[name] = value
        return name


def main(arguments: "Sequence[str] | None" = None) -> int:
    parser = argparse.ArgumentParser("python -m hybridhash.onnx", description=__doc__.split("\n")[0])
    parser.add_argument("model", metavar="MODEL", help="model file or checkpoint")
    parser.add_argument("out", metavar="OUT.onnx")
    parser.add_argument("--batch", type=int, help="images at once; otherwise any number")
    parser.add_argument("--opset", type=int, default=_MIN_OPSET, help=f"{_MIN_OPSET} or newer (default {_MIN_OPSET})")
    parser.add_argument("--inputs", choices=INPUTS, default="pixels",
                        help="uint8 [n, S, S, C] (default), or float32 [n, C, S, S], normalised before")
    parser.add_argument("--outputs", choices=OUTPUTS, default="both", help="float32 [n, bits], packed codes, or both")
    o = parser.parse_args(arguments)
    try:
        export(o.model, o.out, o.batch, o.opset, o.outputs, o.inputs)
    except (ValueError, OSError, ImportError, MemoryError) as error:
        print(f"hybridhash.onnx: {one_line(error)}", file=sys.stderr)
        return 2
    print(f"{o.out}: ONNX, opset {o.opset}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

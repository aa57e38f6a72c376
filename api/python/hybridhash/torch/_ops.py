# SPDX-License-Identifier: Apache-2.0
"""The operators. Each has a function that checks its arguments and makes its outputs, which alone is what
torch.compile sees, and one that calls the kernel on their addresses."""

from __future__ import annotations

import math
import os
from typing import Any, Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import _kernels

_library = torch.library.Library("hybridhash", "DEF")


def _require(right: Any, message: str) -> None:
    if not right:
        raise ValueError(message)


def _tensor(op: str, name: str, tensor: Tensor, shape: Sequence[Any], like: Tensor,
            dtypes: Sequence[torch.dtype]) -> None:
    """ValueError unless it has this shape (None: any extent), one of the types, and like's device."""
    wanted = "[" + ", ".join("any" if n is None else str(n) for n in shape) + "]"
    _require(tensor.dim() == len(shape) and all(n is None or n == m for n, m in zip(shape, tensor.shape)),
             f"{op}: {name} is {list(tensor.shape)}: use {wanted}")
    autocast = "; to compute in it, keep the network in float32 and use torch.autocast" if tensor.dtype.itemsize == 2 else ""
    _require(tensor.dtype in dtypes,
             f"{op}: {name} is {_name(tensor.dtype)}: use {' or '.join(map(_name, dtypes))}{autocast}")
    _require(tensor.device == like.device, f"{op}: {name} is on {tensor.device}, the rest on {like.device}")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).split(".")[1]


def _activation(op: str, name: str, tensor: Tensor, shape: Sequence[Any]) -> tuple[torch.dtype]:
    """Checks the tensor whose type is that of all activations; gives that type."""
    types = [torch.float32, torch.bfloat16] + ([torch.float16] if tensor.device.type == "cuda" else [])
    _tensor(op, name, tensor, shape, tensor, types)
    return (tensor.dtype,)


_F32 = (torch.float32,)
_I64 = (torch.int64,)


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _call(kernel: str, tensor: Tensor, *types: str, **fields: Any) -> None:
    """Runs a kernel where ``tensor`` is; tensors among the fields become addresses."""
    device = tensor.device
    lent: list[Tensor] = []  # scratch memory: PyTorch reuses it in the order of the current stream
    if device.type == "cpu":
        place = _kernels.Place(-1, 0, torch.get_num_threads(), None)
    else:
        def scratch(size: int) -> int:
            lent.append(torch.empty(size, dtype=torch.uint8, device=device))
            return lent[-1].data_ptr()

        place = _kernels.Place(device.index, torch.cuda.current_stream(device).cuda_stream, 1, scratch)
    addresses = {name: _address(value) if value is None or isinstance(value, Tensor) else value
                 for name, value in fields.items()}
    try:
        getattr(_kernels, kernel)(place, *types, **addresses)
    except RuntimeError as error:
        if device.type == "cpu" or os.path.exists(os.path.join(os.path.dirname(_kernels.__file__), "libhh_cuda.so")):
            raise
        raise RuntimeError(f"this build of hybridhash has no kernels for {device}: pip install . "
                           f"-C cmake.define.HH_CUDA=ON, or move the tensors to the CPU ({error})") from None


def _operator(schema: str, make: Callable[..., Any], run: Callable[..., None]) -> Callable[..., Any]:
    """Registers hybridhash::NAME. ``make(*arguments)`` gives the outputs, ``run(outputs, *arguments)`` fills them."""
    name = schema.split("(")[0]
    # Inductor may choose layouts; these are as the call says. Older PyTorch knows the order of strides alone.
    strides = getattr(torch.Tag, "needs_exact_strides", torch.Tag.needs_fixed_stride_order)
    _library.define(schema, tags=(torch.Tag.pt2_compliant_tag, strides))

    def compute(*arguments: Any) -> Any:
        outputs = make(*arguments)
        # Here alone: while it compiles, Inductor asks with other strides than those that it will give (see the tag).
        for argument, what in zip(arguments, operator._schema.arguments):
            _require(not isinstance(argument, Tensor) or argument.is_contiguous(),
                     f"{name}: {what.name} isn't contiguous: use {what.name}.contiguous()")
        run(outputs, *arguments)
        return outputs

    operator = getattr(torch.ops.hybridhash, name).default
    _library.impl(name, compute, "CPU")
    _library.impl(name, compute, "CUDA")
    torch.library.register_fake(f"hybridhash::{name}", make, lib=_library)
    return operator


def _differentiable(name: str, save: Callable[..., None], backward: Callable[..., Any]) -> None:
    def setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.set_materialize_grads(False)
        save(ctx, output, *inputs)

    torch.library.register_autograd(f"hybridhash::{name}", backward, setup_context=setup, lib=_library)

    def no_second(ctx: Any, *gradients: Any) -> Any:
        raise RuntimeError(f"hybridhash.torch: {name} has no second derivative")

    if hasattr(torch.ops.hybridhash, f"{name}_backward"):
        torch.library.register_autograd(f"hybridhash::{name}_backward", no_second, lib=_library)


def _contiguous(gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else gradient.contiguous()


# Window attention.

def _window_shape(qkv: Tensor, heads: int) -> dict[str, int]:
    op, width = "window_attention", qkv.shape[-1] if qkv.dim() else 0
    _require(qkv.dim() >= 2, f"{op}: qkv is {list(qkv.shape)}: use [..., N, 3 * heads * d]")
    _require(heads >= 1 and width % (3 * heads) == 0 and 1 <= width // (3 * heads) <= 128,
             f"{op}: qkv is {width} wide, heads = {heads}: use 3 * heads * d, d from 1 to 128")
    _require(1 <= qkv.shape[-2] <= 1024, f"{op}: {qkv.shape[-2]} tokens: use 1 to 1024")
    return {"windows": math.prod(qkv.shape[:-2]), "tokens": qkv.shape[-2], "heads": heads,
            "head_dim": width // (3 * heads)}


def _window_make(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    shape = _window_shape(qkv, heads)
    _activation("window_attention", "qkv", qkv, qkv.shape)
    return (qkv.new_empty(*qkv.shape[:-1], heads * shape["head_dim"]),
            qkv.new_empty(shape["windows"], heads, shape["tokens"], dtype=torch.float32))


def _window_run(outputs: tuple[Tensor, ...], qkv: Tensor, heads: int) -> None:
    out, lse = outputs
    _call("window_attention_forward", qkv, _name(qkv.dtype), qkv=qkv, out=out, lse=lse, **_window_shape(qkv, heads))


def _window_backward_make(dout: Tensor, qkv: Tensor, out: Tensor, lse: Tensor, heads: int) -> Tensor:
    op, (like_out, like_lse) = "window_attention", _window_make(qkv, heads)
    _tensor(op, "its result", out, like_out.shape, qkv, (qkv.dtype,))
    _tensor(op, "lse", lse, like_lse.shape, qkv, _F32)
    _tensor(op, "the gradient of its result", dout, out.shape, qkv, (qkv.dtype,))
    return qkv.new_empty(qkv.shape)


def _window_backward_run(dqkv: Tensor, dout: Tensor, qkv: Tensor, out: Tensor, lse: Tensor, heads: int) -> None:
    _call("window_attention_backward", qkv, _name(qkv.dtype), qkv=qkv, out=out, lse=lse, dout=dout, dqkv=dqkv,
          **_window_shape(qkv, heads))


_window = _operator("window_attention(Tensor qkv, int heads) -> (Tensor, Tensor)", _window_make, _window_run)
_window_backward = _operator(
    "window_attention_backward(Tensor dout, Tensor qkv, Tensor out, Tensor lse, int heads) -> Tensor",
    _window_backward_make, _window_backward_run)


def _window_save(ctx: Any, output: tuple[Tensor, ...], qkv: Tensor, heads: int) -> None:
    ctx.save_for_backward(qkv, *output)
    ctx.mark_non_differentiable(output[1])
    ctx.heads = heads


def _window_gradients(ctx: Any, dout: Tensor | None, _: Any) -> Any:
    if dout is None:
        return None, None
    return _window_backward(dout.contiguous(), *ctx.saved_tensors, ctx.heads), None


_differentiable("window_attention", _window_save, _window_gradients)


def window_attention(qkv: Tensor, heads: int) -> Tensor:
    """Multi-head self-attention inside windows, softmax(q k^T / sqrt(d)) v; the N x N scores are never stored.

    qkv      [..., N, 3 * heads * d], float32 or bfloat16 (CUDA: or float16); a row is q of head 0, q of head 1, ...,
             then k, then v. N from 1 to 1024, d from 1 to 128; the axes before N are windows of their own
    returns  [..., N, heads * d] of qkv's type. Heads are interleaved last: element e of head h is channel
             e * heads + h, as in NesT
    """
    return _window(qkv, heads)[0]


# Residual addition and LayerNorm.

def _norm_parameters(op: str, width: Any, like: Tensor, **named: Tensor | None) -> None:
    for name, tensor in named.items():
        if tensor is not None:
            _tensor(op, name, tensor, [width], like, _F32)


def _image_rows(op: str, like: Tensor, image_scale: Tensor | None) -> int:
    """Rows of an image, where each has a scale: the first axis is that of images."""
    rows = math.prod(like.shape[:-1])
    if image_scale is None:
        return 1
    _tensor(op, "image_scale", image_scale, [like.shape[0]], like, _F32)
    return max(rows // max(like.shape[0], 1), 1)


def _residual_make(residual: Tensor, branch: Tensor, bias: Tensor | None, image_scale: Tensor | None,
                   gamma: Tensor, beta: Tensor, eps: float) -> tuple[Tensor, ...]:
    op = "residual_layer_norm"
    _require(residual.dim() >= 2 and residual.shape[-1] >= 1,
             f"{op}: residual is {list(residual.shape)}: use [..., C], two axes or more")
    _require(eps > 0, f"{op}: eps = {eps}: use more than 0")
    types = _activation(op, "residual", residual, residual.shape)
    _tensor(op, "branch", branch, residual.shape, residual, types)
    _norm_parameters(op, residual.shape[-1], residual, bias=bias, gamma=gamma, beta=beta)
    _image_rows(op, residual, image_scale)
    rows = math.prod(residual.shape[:-1])
    statistics = [residual.new_empty(rows, dtype=torch.float32) for _ in range(2)]
    return (residual.new_empty(residual.shape), residual.new_empty(residual.shape), *statistics)


def _rows(tensor: Tensor, image_scale: Tensor | None) -> dict[str, int]:
    return {"rows": math.prod(tensor.shape[:-1]), "cols": tensor.shape[-1],
            "rows_per_image": _image_rows("residual_layer_norm", tensor, image_scale)}


def _residual_run(outputs: tuple[Tensor, ...], residual: Tensor, branch: Tensor, bias: Tensor | None,
                  image_scale: Tensor | None, gamma: Tensor, beta: Tensor, eps: float) -> None:
    z, y, mean, rstd = outputs
    _call("residual_layer_norm_forward", residual, _name(residual.dtype), residual=residual, branch=branch, bias=bias,
          image_scale=image_scale, gamma=gamma, beta=beta, z=z, y=y, mean=mean, rstd=rstd, eps=eps,
          **_rows(residual, image_scale))


def _residual_backward_make(z: Tensor, dz: Tensor | None, dy: Tensor | None, image_scale: Tensor | None,
                            gamma: Tensor, mean: Tensor, rstd: Tensor) -> tuple[Tensor, ...]:
    op = "residual_layer_norm"
    _require(z.dim() >= 2 and z.shape[-1] >= 1, f"{op}: z is {list(z.shape)}: use [..., C], two axes or more")
    types = _activation(op, "z", z, z.shape)
    for gradient in (dz, dy):
        if gradient is not None:
            _tensor(op, "the gradient of a result", gradient, z.shape, z, types)
    _norm_parameters(op, z.shape[-1], z, gamma=gamma)
    _norm_parameters(op, math.prod(z.shape[:-1]), z, mean=mean, rstd=rstd)
    _image_rows(op, z, image_scale)
    dbranch = z.new_empty(z.shape) if image_scale is not None else z.new_empty(0)
    sums = [gamma.new_zeros(gamma.shape) for _ in range(3)]
    return (z.new_empty(z.shape), dbranch, *sums)


def _residual_backward_run(outputs: tuple[Tensor, ...], z: Tensor, dz: Tensor | None, dy: Tensor | None,
                           image_scale: Tensor | None, gamma: Tensor, mean: Tensor, rstd: Tensor) -> None:
    dresidual, dbranch, dbias, dgamma, dbeta = outputs
    _call("residual_layer_norm_backward", z, _name(z.dtype), dz=dz, dy=dy, z=z, image_scale=image_scale, gamma=gamma,
          mean=mean, rstd=rstd, dresidual=dresidual, dbranch=None if image_scale is None else dbranch, dbias=dbias,
          dgamma=dgamma, dbeta=dbeta, **_rows(z, image_scale))


_residual = _operator(
    "residual_layer_norm(Tensor residual, Tensor branch, Tensor? bias, Tensor? image_scale, Tensor gamma, Tensor beta, "
    "float eps) -> (Tensor, Tensor, Tensor, Tensor)", _residual_make, _residual_run)
_residual_backward = _operator(
    "residual_layer_norm_backward(Tensor z, Tensor? dz, Tensor? dy, Tensor? image_scale, Tensor gamma, Tensor mean, "
    "Tensor rstd) -> (Tensor, Tensor, Tensor, Tensor, Tensor)", _residual_backward_make, _residual_backward_run)


def _residual_save(ctx: Any, output: tuple[Tensor, ...], residual: Tensor, branch: Tensor, bias: Tensor | None,
                   image_scale: Tensor | None, gamma: Tensor, beta: Tensor, eps: float) -> None:
    z, _, mean, rstd = output
    ctx.save_for_backward(z, image_scale, gamma, mean, rstd)
    ctx.mark_non_differentiable(mean, rstd)
    ctx.has_bias = bias is not None


def _residual_gradients(ctx: Any, dz: Tensor | None, dy: Tensor | None, *_: Any) -> Any:
    if dz is None and dy is None:
        return (None,) * 7
    z, image_scale, gamma, mean, rstd = ctx.saved_tensors
    dresidual, dbranch, dbias, dgamma, dbeta = _residual_backward(z, _contiguous(dz), _contiguous(dy), image_scale,
                                                                  gamma, mean, rstd)
    return (dresidual, dresidual if image_scale is None else dbranch, dbias if ctx.has_bias else None, None, dgamma,
            dbeta, None)


_differentiable("residual_layer_norm", _residual_save, _residual_gradients)


def residual_layer_norm(residual: Tensor, branch: Tensor, bias: Tensor | None, gamma: Tensor, beta: Tensor, *,
                        image_scale: Tensor | None = None, eps: float = 1e-6) -> tuple[Tensor, Tensor]:
    """What stands between two products of a transformer layer, in one pass:
    z = residual + image_scale * (branch + bias), y = LayerNorm(z) * gamma + beta over the last axis.

    residual, branch   [..., C], one type: float32 or bfloat16 (CUDA: or float16)
    bias, gamma, beta  float32 [C]; bias may be None
    image_scale        float32 [first axis of residual], drop path's 0 or 1 / keep; None: 1. No gradient goes to it
    eps                added to the variance
    returns            (z, y), both as residual
    """
    return _residual(residual, branch, bias, image_scale, gamma, beta, eps)[:2]


# Blocks of an image.

def _blockify_shape(x: Tensor, grid: int) -> dict[str, Any]:
    op = "blockify_layer_norm"
    _require(x.dim() == 4, f"{op}: x is {list(x.shape)}: use [B, h, h, C]")
    _require(grid >= 1 and x.shape[1] == x.shape[2] and x.shape[1] >= 1 and x.shape[1] % grid == 0 and x.shape[3] >= 1,
             f"{op}: x is {list(x.shape)}, grid = {grid}: use [B, h, h, C] with h a multiple of grid")
    return {"images": x.shape[0], "grid": grid, "side": x.shape[1] // grid, "channels": x.shape[3]}


def _blockify_make(x: Tensor, pos: Tensor, gamma: Tensor, beta: Tensor, grid: int, eps: float) -> tuple[Tensor, ...]:
    op = "blockify_layer_norm"
    shape = _blockify_shape(x, grid)
    _require(eps > 0, f"{op}: eps = {eps}: use more than 0")
    _activation(op, "x", x, x.shape)
    blocks = [grid * grid, shape["side"] * shape["side"], shape["channels"]]
    _tensor(op, "pos", pos, blocks, x, _F32)
    _norm_parameters(op, shape["channels"], x, gamma=gamma, beta=beta)
    tokens = x.shape[0] * x.shape[1] * x.shape[2]
    statistics = [x.new_empty(tokens, dtype=torch.float32) for _ in range(2)]
    return (x.new_empty(x.shape[0], *blocks), x.new_empty(x.shape[0], *blocks), *statistics)


def _blockify_run(outputs: tuple[Tensor, ...], x: Tensor, pos: Tensor, gamma: Tensor, beta: Tensor, grid: int,
                  eps: float) -> None:
    z, y, mean, rstd = outputs
    _call("blockify_layer_norm_forward", x, _name(x.dtype), x=x, pos=pos, gamma=gamma, beta=beta, z=z, y=y, mean=mean,
          rstd=rstd, eps=eps, **_blockify_shape(x, grid))


def _blockify_backward_make(z: Tensor, dz: Tensor | None, dy: Tensor, gamma: Tensor, mean: Tensor, rstd: Tensor,
                            grid: int) -> tuple[Tensor, ...]:
    op = "blockify_layer_norm"
    _require(z.dim() == 4 and grid * grid == z.shape[1] and _root(z.shape[2]) ** 2 == z.shape[2] and z.shape[3] >= 1,
             f"{op}: z is {list(z.shape)}, grid = {grid}: use [B, grid * grid, N, C] with N a square")
    types = _activation(op, "z", z, z.shape)
    for gradient in (dz, dy):
        if gradient is not None:
            _tensor(op, "the gradient of a result", gradient, z.shape, z, types)
    _norm_parameters(op, z.shape[3], z, gamma=gamma)
    _norm_parameters(op, math.prod(z.shape[:3]), z, mean=mean, rstd=rstd)
    side = _root(z.shape[2]) * grid
    return (z.new_empty(z.shape[0], side, side, z.shape[3]), z.new_zeros(z.shape[1:], dtype=torch.float32),
            gamma.new_zeros(gamma.shape), gamma.new_zeros(gamma.shape))


def _blockify_backward_run(outputs: tuple[Tensor, ...], z: Tensor, dz: Tensor | None, dy: Tensor, gamma: Tensor,
                           mean: Tensor, rstd: Tensor, grid: int) -> None:
    dx, dpos, dgamma, dbeta = outputs
    _call("blockify_layer_norm_backward", z, _name(z.dtype), dz=dz, dy=dy, z=z, gamma=gamma, mean=mean, rstd=rstd,
          dx=dx, dpos=dpos, dgamma=dgamma, dbeta=dbeta, **_blockify_shape(dx, grid))


_blockify = _operator(
    "blockify_layer_norm(Tensor x, Tensor pos, Tensor gamma, Tensor beta, int grid, float eps) -> "
    "(Tensor, Tensor, Tensor, Tensor)", _blockify_make, _blockify_run)
_blockify_backward = _operator(
    "blockify_layer_norm_backward(Tensor z, Tensor? dz, Tensor dy, Tensor gamma, Tensor mean, Tensor rstd, int grid) "
    "-> (Tensor, Tensor, Tensor, Tensor)", _blockify_backward_make, _blockify_backward_run)


def _blockify_save(ctx: Any, output: tuple[Tensor, ...], x: Tensor, pos: Tensor, gamma: Tensor, beta: Tensor,
                   grid: int, eps: float) -> None:
    z, _, mean, rstd = output
    ctx.save_for_backward(z, gamma, mean, rstd)
    ctx.mark_non_differentiable(mean, rstd)
    ctx.grid = grid


def _blockify_gradients(ctx: Any, dz: Tensor | None, dy: Tensor | None, *_: Any) -> Any:
    if dz is None and dy is None:
        return (None,) * 6
    z, gamma, mean, rstd = ctx.saved_tensors
    dy = torch.zeros_like(z) if dy is None else dy.contiguous()
    return (*_blockify_backward(z, _contiguous(dz), dy, gamma, mean, rstd, ctx.grid), None, None)


_differentiable("blockify_layer_norm", _blockify_save, _blockify_gradients)


def blockify_layer_norm(x: Tensor, pos: Tensor, gamma: Tensor, beta: Tensor, grid: int, *,
                        eps: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Cuts images into blocks, adds the position embedding, and a LayerNorm over channels, in one pass:
    z[b, t, n] = x[b, i, j] + pos[t, n] with t = (i // s) * grid + j // s, n = (i % s) * s + j % s, s = h / grid;
    y = LayerNorm(z) * gamma + beta.

    x            [B, h, h, C], channels last, float32 or bfloat16 (CUDA: or float16)
    pos          float32 [T, N, C], T = grid * grid blocks of N = s * s tokens
    gamma, beta  float32 [C]
    grid         blocks per side; it divides h
    eps          added to the variance
    returns      (z, y), both [B, T, N, C] of x's type
    """
    return _blockify(x, pos, gamma, beta, grid, eps)[:2]


def _deblockify_shape(z: Tensor) -> dict[str, Any]:
    op = "deblockify_residual"
    _require(z.dim() == 4, f"{op}: z is {list(z.shape)}: use [B, T, N, C]")
    grid, side = _root(z.shape[1]), _root(z.shape[2])
    _require(grid * grid == z.shape[1] and side * side == z.shape[2] and grid * side * z.shape[3] > 0,
             f"{op}: z is {list(z.shape)}: use [B, T, N, C] with T and N squares")
    return {"images": z.shape[0], "grid": grid, "side": side, "channels": z.shape[3]}


def _root(n: Any) -> int:
    return math.isqrt(int(n))


def _deblockify_make(z: Tensor, branch: Tensor, bias: Tensor, image_scale: Tensor | None) -> Tensor:
    op = "deblockify_residual"
    shape = _deblockify_shape(z)
    types = _activation(op, "z", z, z.shape)
    _tensor(op, "branch", branch, z.shape, z, types)
    _norm_parameters(op, z.shape[3], z, bias=bias)
    _image_rows(op, z, image_scale)
    side = shape["grid"] * shape["side"]
    return z.new_empty(z.shape[0], side, side, z.shape[3])


def _deblockify_run(out: Tensor, z: Tensor, branch: Tensor, bias: Tensor, image_scale: Tensor | None) -> None:
    _call("deblockify_residual_forward", z, _name(z.dtype), z=z, branch=branch, bias=bias, image_scale=image_scale,
          out=out, **_deblockify_shape(z))


def _deblockify_backward_make(dout: Tensor, image_scale: Tensor | None, blocks: int) -> tuple[Tensor, ...]:
    op = "deblockify_residual"
    _activation(op, "the gradient of its result", dout, dout.shape)
    grid = _root(max(int(blocks), 0))
    _require(dout.dim() == 4 and grid >= 1 and grid * grid == blocks and dout.shape[1] == dout.shape[2]
             and dout.shape[1] >= 1 and dout.shape[1] % grid == 0 and dout.shape[3] >= 1,
             f"{op}: the gradient of its result is {list(dout.shape)}, blocks = {blocks}: use [B, h, h, C], h a multiple of "
             "the root of blocks")
    _image_rows(op, dout, image_scale)
    side = dout.shape[1] // grid
    dz = dout.new_empty(dout.shape[0], blocks, side * side, dout.shape[3])
    dbranch = dz.new_empty(dz.shape) if image_scale is not None else dz.new_empty(0)
    return dz, dbranch, dout.new_zeros(dout.shape[3], dtype=torch.float32)


def _deblockify_backward_run(outputs: tuple[Tensor, ...], dout: Tensor, image_scale: Tensor | None,
                             blocks: int) -> None:
    dz, dbranch, dbias = outputs
    _call("deblockify_residual_backward", dout, _name(dout.dtype), dout=dout, image_scale=image_scale, dz=dz,
          dbranch=None if image_scale is None else dbranch, dbias=dbias, **_deblockify_shape(dz))


_deblockify = _operator(
    "deblockify_residual(Tensor z, Tensor branch, Tensor bias, Tensor? image_scale) -> Tensor", _deblockify_make,
    _deblockify_run)
_deblockify_backward = _operator(
    "deblockify_residual_backward(Tensor dout, Tensor? image_scale, int blocks) -> (Tensor, Tensor, Tensor)",
    _deblockify_backward_make, _deblockify_backward_run)


def _deblockify_save(ctx: Any, output: Tensor, z: Tensor, branch: Tensor, bias: Tensor,
                     image_scale: Tensor | None) -> None:
    ctx.save_for_backward(image_scale)
    ctx.blocks = z.shape[1]


def _deblockify_gradients(ctx: Any, dout: Tensor | None) -> Any:
    if dout is None:
        return (None,) * 4
    image_scale, = ctx.saved_tensors
    dz, dbranch, dbias = _deblockify_backward(dout.contiguous(), image_scale, ctx.blocks)
    return dz, dz if image_scale is None else dbranch, dbias, None


_differentiable("deblockify_residual", _deblockify_save, _deblockify_gradients)


def deblockify_residual(z: Tensor, branch: Tensor, bias: Tensor, *, image_scale: Tensor | None = None) -> Tensor:
    """Puts blocks together to images again, with the last residual addition of a level in the same pass:
    out[b, i, j] = z[b, t, n] + image_scale[b] * (branch[b, t, n] + bias), t and n as in blockify_layer_norm().

    z, branch    [B, T, N, C], T and N squares, one type: float32 or bfloat16 (CUDA: or float16)
    bias         float32 [C]
    image_scale  float32 [B], drop path's 0 or 1 / keep; None: 1. No gradient goes to it
    returns      [B, h, h, C] of z's type, h = sqrt(T * N)
    """
    return _deblockify(z, branch, bias, image_scale)


# Bias and GELU.

def _gelu_make(x: Tensor, bias: Tensor) -> Tensor:
    op = "bias_gelu"
    _require(x.dim() >= 1 and x.shape[-1] >= 1, f"{op}: x is {list(x.shape)}: use [..., C]")
    _activation(op, "x", x, x.shape)
    _tensor(op, "bias", bias, [x.shape[-1]], x, _F32)
    return x.new_empty(x.shape)


def _gelu_run(y: Tensor, x: Tensor, bias: Tensor) -> None:
    _call("bias_gelu_forward", x, _name(x.dtype), x=x, bias=bias, y=y, rows=math.prod(x.shape[:-1]), cols=x.shape[-1])


def _gelu_backward_make(dy: Tensor, x: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    _gelu_make(x, bias)
    _tensor("bias_gelu", "the gradient of its result", dy, x.shape, x, (x.dtype,))
    return x.new_empty(x.shape), bias.new_zeros(bias.shape)


def _gelu_backward_run(outputs: tuple[Tensor, Tensor], dy: Tensor, x: Tensor, bias: Tensor) -> None:
    dx, dbias = outputs
    _call("bias_gelu_backward", x, _name(x.dtype), x=x, bias=bias, dy=dy, dx=dx, dbias=dbias,
          rows=math.prod(x.shape[:-1]), cols=x.shape[-1])


_gelu = _operator("bias_gelu(Tensor x, Tensor bias) -> Tensor", _gelu_make, _gelu_run)
_gelu_backward = _operator("bias_gelu_backward(Tensor dy, Tensor x, Tensor bias) -> (Tensor, Tensor)",
                           _gelu_backward_make, _gelu_backward_run)


def _gelu_save(ctx: Any, output: Tensor, x: Tensor, bias: Tensor) -> None:
    ctx.save_for_backward(x, bias)


def _gelu_gradients(ctx: Any, dy: Tensor | None) -> Any:
    return (None, None) if dy is None else _gelu_backward(dy.contiguous(), *ctx.saved_tensors)


_differentiable("bias_gelu", _gelu_save, _gelu_gradients)


def bias_gelu(x: Tensor, bias: Tensor) -> Tensor:
    """GELU(x + bias), the exact one: v * Phi(v).

    x        [..., C], float32 or bfloat16 (CUDA: or float16)
    bias     float32 [C]
    returns  as x
    """
    return _gelu(x, bias)


# The end of an interaction module.

def _merge_shape(local: Tensor, glob: Tensor) -> dict[str, Any]:
    op = "interaction_merge"
    _require(local.dim() == 4 and glob.dim() == 4,
             f"{op}: local is {list(local.shape)}, glob {list(glob.shape)}: use [B, h, h, C] and [B, m, m, C]")
    images, side, _, channels = local.shape
    grid = glob.shape[1]
    _require(tuple(local.shape) == (images, side, side, channels) and tuple(glob.shape) == (images, grid, grid, channels)
             and grid >= 1 and side >= 1 and side % grid == 0 and side % 2 == 0 and side <= 1 << 15 and channels >= 1,
             f"{op}: local is {list(local.shape)}, glob {list(glob.shape)}: use [B, h, h, C] and [B, m, m, C] with h "
             "even, a multiple of m, at most 32768")
    return {"images": images, "grid": grid, "factor": side // grid, "channels": channels}


def _merge_make(local: Tensor, glob: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> tuple[Tensor, ...]:
    op = "interaction_merge"
    _merge_shape(local, glob)
    _require(eps > 0, f"{op}: eps = {eps}: use more than 0")
    types = _activation(op, "local", local, local.shape)
    _tensor(op, "glob", glob, glob.shape, local, types)
    _norm_parameters(op, local.shape[3], local, gamma=gamma, beta=beta)
    images, side, _, channels = local.shape
    pooled = (images, side // 2, side // 2, channels)
    statistics = [local.new_empty(images, side, side, dtype=torch.float32) for _ in range(2)]
    return (local.new_empty(pooled), local.new_empty(pooled, dtype=torch.uint8), *statistics)


def _merge_run(outputs: tuple[Tensor, ...], local: Tensor, glob: Tensor, gamma: Tensor, beta: Tensor,
               eps: float) -> None:
    out, argmax, mean, rstd = outputs
    _call("interaction_merge_forward", local, _name(local.dtype), local=local, glob=glob, gamma=gamma, beta=beta,
          out=out, argmax=argmax, mean=mean, rstd=rstd, eps=eps, **_merge_shape(local, glob))


def _merge_backward_make(dout: Tensor, argmax: Tensor, local: Tensor, glob: Tensor, gamma: Tensor, mean: Tensor,
                         rstd: Tensor) -> tuple[Tensor, ...]:
    op, (like_out, like_argmax, like_mean, _) = "interaction_merge", _merge_make(local, glob, gamma, gamma, 1.0)
    _tensor(op, "argmax", argmax, like_argmax.shape, local, (torch.uint8,))
    for name, statistic in (("mean", mean), ("rstd", rstd)):
        _tensor(op, name, statistic, like_mean.shape, local, _F32)
    _tensor(op, "the gradient of its result", dout, like_out.shape, local, (local.dtype,))
    return local.new_empty(local.shape), glob.new_empty(glob.shape), gamma.new_zeros(gamma.shape), gamma.new_zeros(gamma.shape)


def _merge_backward_run(outputs: tuple[Tensor, ...], dout: Tensor, argmax: Tensor, local: Tensor, glob: Tensor,
                        gamma: Tensor, mean: Tensor, rstd: Tensor) -> None:
    dlocal, dglob, dgamma, dbeta = outputs
    _call("interaction_merge_backward", local, _name(local.dtype), dout=dout, argmax=argmax, local=local, glob=glob,
          gamma=gamma, mean=mean, rstd=rstd, dlocal=dlocal, dglob=dglob, dgamma=dgamma, dbeta=dbeta,
          **_merge_shape(local, glob))


_merge = _operator(
    "interaction_merge(Tensor local, Tensor glob, Tensor gamma, Tensor beta, float eps) -> "
    "(Tensor, Tensor, Tensor, Tensor)", _merge_make, _merge_run)
_merge_backward = _operator(
    "interaction_merge_backward(Tensor dout, Tensor argmax, Tensor local, Tensor glob, Tensor gamma, Tensor mean, "
    "Tensor rstd) -> (Tensor, Tensor, Tensor, Tensor)", _merge_backward_make, _merge_backward_run)


def _merge_save(ctx: Any, output: tuple[Tensor, ...], local: Tensor, glob: Tensor, gamma: Tensor, beta: Tensor,
                eps: float) -> None:
    _, argmax, mean, rstd = output
    ctx.save_for_backward(argmax, local, glob, gamma, mean, rstd)
    ctx.mark_non_differentiable(argmax, mean, rstd)


def _merge_gradients(ctx: Any, dout: Tensor | None, *_: Any) -> Any:
    if dout is None:
        return (None,) * 5
    return (*_merge_backward(dout.contiguous(), *ctx.saved_tensors), None)


_differentiable("interaction_merge", _merge_save, _merge_gradients)


def interaction_merge(local: Tensor, glob: Tensor, gamma: Tensor, beta: Tensor, *, eps: float = 1e-6) -> Tensor:
    """The end of an interaction module in one pass: max pooling, 3 x 3 with stride 2 and padding 1, of
    LayerNorm(local + up(glob)) * gamma + beta over channels; up is bilinear, corners not aligned.

    local        [B, h, h, C], channels last, h even; float32 or bfloat16 (CUDA: or float16)
    glob         [B, m, m, C] of local's type; m divides h
    gamma, beta  float32 [C]
    eps          added to the variance
    returns      [B, h / 2, h / 2, C] of local's type. Of equal maxima the first gets the gradient, as in PyTorch
    """
    return _merge(local, glob, gamma, beta, eps)[0]


# The loss.

_BANKS = (torch.float32, torch.float16, torch.bfloat16)


def _loss_make(u: Tensor, labels: Tensor, bank: Tensor, bank_labels: Tensor, alpha: float) -> tuple[Tensor, ...]:
    op = "wml_loss"
    _tensor(op, "u", u, [None, None], u, _F32)
    _require(u.shape[0] >= 1 and 1 <= u.shape[1] <= 512, f"{op}: u is {list(u.shape)}: use [B, K], B from 1, K to 512")
    _tensor(op, "labels", labels, [u.shape[0], None], u, _I64)
    _require(labels.shape[1] >= 1, f"{op}: labels are {list(labels.shape)}: use [B, words], as pack_bits() gives")
    _tensor(op, "bank", bank, [None, u.shape[1]], u, _BANKS)
    _require(bank.shape[0] >= 1, f"{op}: bank is {list(bank.shape)}: use one row or more")
    _tensor(op, "bank_labels", bank_labels, [bank.shape[0], labels.shape[1]], u, _I64)
    return u.new_empty(()), u.new_empty(2, dtype=torch.int64), u.new_empty(u.shape)


def _loss_run(outputs: tuple[Tensor, ...], u: Tensor, labels: Tensor, bank: Tensor, bank_labels: Tensor,
              alpha: float) -> None:
    loss, pairs, du = outputs
    _call("wml_loss", u, _name(bank.dtype), u=u, labels=labels, bank=bank, bank_labels=bank_labels, loss=loss,
          pairs=pairs, du=du, images=u.shape[0], bank_rows=bank.shape[0], bits=u.shape[1], label_words=labels.shape[1],
          alpha=alpha)


_loss = _operator(
    "wml_loss(Tensor u, Tensor labels, Tensor bank, Tensor bank_labels, float alpha) -> (Tensor, Tensor, Tensor)",
    _loss_make, _loss_run)


def _loss_backward_make(dloss: Tensor, du: Tensor, u: Tensor) -> Tensor:
    _tensor("wml_loss", "the gradient of its result", dloss, [], u, _F32)
    _tensor("wml_loss", "du", du, u.shape, u, _F32)
    return du.new_empty(du.shape)


# An operator of its own that names u, so that a second derivative is refused: how du follows u isn't known.
_loss_backward = _operator("wml_loss_backward(Tensor dloss, Tensor du, Tensor u) -> Tensor", _loss_backward_make,
                           lambda out, dloss, du, u: torch.mul(du, dloss, out=out))


def _loss_save(ctx: Any, output: tuple[Tensor, ...], u: Tensor, *_: Any) -> None:
    _, pairs, du = output
    ctx.save_for_backward(du, u)
    ctx.mark_non_differentiable(pairs, du)


def _loss_gradients(ctx: Any, dloss: Tensor | None, *_: Any) -> Any:
    return None if dloss is None else _loss_backward(dloss.contiguous(), *ctx.saved_tensors), None, None, None, None


_differentiable("wml_loss", _loss_save, _loss_gradients)


def wml_loss(u: Tensor, labels: Tensor, bank: Tensor, bank_labels: Tensor, alpha: float = 0.5) -> Tensor:
    """The weighted maximum-likelihood hashing loss of a batch against a bank of codes, without the B x M matrix:
    the mean of softplus(t) - t over pairs that share a class, plus the mean of softplus(t) over those that don't,
    t = alpha * u . bank row. Its gradient is made in the same pass.

    u            float32 [B, K], the batch's codes in (-1, 1); K from 1 to 512
    labels       int64 [B, words], classes as bits: pack_bits(labels > 0)
    bank         [M, K], float32, float16 or bfloat16, which already holds this batch's codes; no gradient goes to it:
                 with torch.no_grad(): bank[index] = u.to(bank.dtype); bank_labels[index] = labels
    bank_labels  int64 [M, words]
    returns      float32, no axes
    """
    return _loss(u, labels, bank, bank_labels, alpha)[0]


# Search.

def _topk_make(queries: Tensor, database: Tensor, k: int, allowed: Tensor | None) -> tuple[Tensor, Tensor]:
    op = "hamming_topk"
    _tensor(op, "queries", queries, [None, None], queries, _I64)
    _require(1 <= queries.shape[1] <= 8, f"{op}: queries are {list(queries.shape)}: use [Q, words], 1 to 8 words")
    _tensor(op, "database", database, [None, queries.shape[1]], queries, _I64)
    if allowed is not None:
        _tensor(op, "allowed", allowed, [(database.shape[0] + 63) // 64], queries, _I64)
    _require(k >= 1, f"{op}: k = {k}: use 1 or more")
    shape = (queries.shape[0], k)
    return queries.new_empty(shape), queries.new_empty(shape, dtype=torch.int32)


def _topk_run(outputs: tuple[Tensor, Tensor], queries: Tensor, database: Tensor, k: int,
              allowed: Tensor | None) -> None:
    rows, distances = outputs
    _call("hamming_topk", queries, queries=queries, database=database, allowed=allowed, rows=rows, distances=distances,
          query_count=queries.shape[0], row_count=database.shape[0], k=k, bits=64 * queries.shape[1])


_topk = _operator("hamming_topk(Tensor queries, Tensor database, int k, Tensor? allowed) -> (Tensor, Tensor)",
                  _topk_make, _topk_run)


def hamming_topk(queries: Tensor, database: Tensor, k: int, *,
                 allowed: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The k rows of a database nearest to each query by Hamming distance, in order of (distance, row): exact.

    queries   int64 [Q, words], packed codes: pack_bits(outputs > 0); 1 to 8 words, of 64 bits each
    database  int64 [N, words]
    allowed   int64 [ceil(N / 64)], the rows that count: pack_bits(mask[None])[0]; None: all
    returns   (rows int64 [Q, k], distances int32 [Q, k], in bits); -1 where there are fewer than k rows
    """
    return _topk(queries, database, k, allowed)


def pack_bits(bits: Tensor) -> Tensor:
    """Bits in 64-bit words: bit j of a row is ``word[j // 64] >> (j % 64) & 1``, and bits past the last are 0.

    bits     bool [n, m]: outputs > 0 for codes, labels > 0 for labels
    returns  int64 [n, ceil(m / 64)]; ``.view(torch.uint8)[:, :(m + 7) // 8]`` are codes as hybridhash.Index takes them
    """
    _require(bits.dim() == 2 and bits.dtype == torch.bool,
             f"pack_bits: bits are {list(bits.shape)} {_name(bits.dtype)}: use bool [n, m]")
    rows, width = bits.shape
    padded = F.pad(bits, (0, -width % 64)).view(rows, -1, 64)
    return (padded.to(torch.int64) << torch.arange(64, device=bits.device)).sum(-1)

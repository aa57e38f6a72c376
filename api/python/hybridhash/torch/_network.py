# SPDX-License-Identifier: Apache-2.0
"""HybridHash as an nn.Module of the operators. Source: docs/specification.md, section 1."""

from __future__ import annotations

import os

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._network import INTERACTION_HEADS, MODEL_FORMAT, Config, parameters, read_model, weights_sha256
from .._weights import Tensor as StoredTensor
from .._weights import write_safetensors
from . import _ops as ops


def _linear(x: Tensor, layer: nn.Module) -> Tensor:
    """Without its bias, which the kernel behind it adds. Also of a convolution with one tap."""
    return F.linear(x, layer.weight.flatten(1))


def _convolve(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """[B, h, w, C] -> [B, h, w, C']: PyTorch's convolution works channels-last where it meets such memory."""
    return layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).contiguous()


def _average(x: Tensor, grid: int) -> Tensor:
    """[B, h, h, C] -> [B, grid, grid, C]."""
    return F.avg_pool2d(x.permute(0, 3, 1, 2), x.shape[1] // grid).permute(0, 2, 3, 1)


class _Attention(nn.Module):
    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__()
        self.qkv = nn.Linear(channels, 3 * channels, bias=bias)
        self.proj = nn.Linear(channels, channels)


class _GlobalAttention(_Attention):
    def __init__(self, channels: int, grid: int) -> None:
        super().__init__(channels, bias=False)
        self.pos_embed_glo = nn.Parameter(torch.zeros(1, grid * grid, channels))

    def forward(self, z: Tensor) -> Tensor:
        """[B, m, m, C] -> [B, m, m, C]. Its tokens are the channels-first memory, read as it lies."""
        images, grid, _, channels = z.shape
        tokens = z.permute(0, 3, 1, 2).reshape(images, grid * grid, channels) + self.pos_embed_glo
        return self.proj(ops.window_attention(self.qkv(tokens), INTERACTION_HEADS)).view(z.shape)


class _Interaction(nn.Module):
    def __init__(self, before: int, channels: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.conv = nn.Conv2d(before, channels, 3, padding=1)
        self.conv_glo = nn.Conv2d(before, channels, 1, bias=False)
        self.global_attention = _GlobalAttention(channels, grid)
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        glob = self.global_attention(_linear(_average(x, self.grid), self.conv_glo))
        return ops.interaction_merge(_convolve(x, self.conv), glob, self.norm.weight, self.norm.bias)


class _Mlp(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)


class _Layer(nn.Module):
    def __init__(self, channels: int, heads: int, drop_rate: float) -> None:
        super().__init__()
        self.heads, self.drop_rate = heads, drop_rate
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = _Attention(channels, bias=True)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = _Mlp(channels)

    def scale(self, images: int, device: torch.device) -> Tensor | None:
        """Drop path: 0 or 1 / keep for each image."""
        if not self.training or self.drop_rate == 0:
            return None
        keep = 1 - self.drop_rate
        return torch.empty(images, device=device).bernoulli_(keep).div_(keep)

    def forward(self, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The residual stream and the second branch, whose bias (mlp.fc2's) and addition are what follows it does."""
        heads = ops.window_attention(self.attn.qkv(y), self.heads)
        z, y = ops.residual_layer_norm(z, _linear(heads, self.attn.proj), self.attn.proj.bias, self.norm2.weight,
                                       self.norm2.bias, image_scale=self.scale(z.shape[0], z.device))
        return z, _linear(ops.bias_gelu(_linear(y, self.mlp.fc1), self.mlp.fc1.bias), self.mlp.fc2)


class _Level(nn.Module):
    def __init__(self, config: Config, level: int, drop_rates: list[float]) -> None:
        super().__init__()
        channels, self.grid = config.dims[level], 4 >> level
        if level > 0:
            self.pool = _Interaction(config.dims[level - 1], channels, 2 * self.grid)
        self.pos_embed = nn.Parameter(torch.zeros(1, self.grid**2, config.block_tokens, channels))
        self.transformer_encoder = nn.ModuleList(_Layer(channels, config.heads[level], rate) for rate in drop_rates)

    def forward(self, x: Tensor, norm: nn.LayerNorm | None) -> Tensor:
        """[B, h, h, C'] -> [B, h', h', C]; with ``norm``, of the last level, normalised."""
        if hasattr(self, "pool"):
            x = self.pool(x)
        first = self.transformer_encoder[0].norm1
        z, y = ops.blockify_layer_norm(x, self.pos_embed[0], first.weight, first.bias, self.grid)
        last = len(self.transformer_encoder) - 1
        for j, layer in enumerate(self.transformer_encoder):
            z, branch = layer(z, y)
            scale, bias = layer.scale(z.shape[0], z.device), layer.mlp.fc2.bias
            following = norm if j == last else self.transformer_encoder[j + 1].norm1
            if following is None:
                return ops.deblockify_residual(z, branch, bias, image_scale=scale)
            z, y = ops.residual_layer_norm(z, branch, bias, following.weight, following.bias, image_scale=scale)
        return y.view(x.shape)  # one block: its tokens are in the image's order


class _HashLayer(nn.Module):
    def __init__(self, channels: int, bits: int) -> None:
        super().__init__()
        self.convS1 = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1))
        self.convS2 = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0))
        self.global_attention = _GlobalAttention(channels, 1)
        self.conv2 = nn.Conv2d(channels, bits, 1)

    def forward(self, x: Tensor) -> Tensor:
        total = self.convS2(self.convS1(x.permute(0, 3, 1, 2))) + \
            self.global_attention(_average(x, 1)).permute(0, 3, 1, 2)
        pooled = F.max_pool2d(total, 3, 2, 1).mean((2, 3))  # the mean may come before the last product
        return torch.tanh(_linear(pooled, self.conv2).float() + self.conv2.bias)


class _Patches(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.proj = nn.Conv2d(config.in_channels, config.dims[0], config.patch, config.patch)

    def forward(self, x: Tensor) -> Tensor:
        images, channels, size, _ = x.shape
        patch = self.proj.kernel_size[0]
        side = size // patch
        rows = x.reshape(images, channels, side, patch, side, patch).permute(0, 2, 4, 1, 3, 5)
        return F.linear(rows.reshape(images, side, side, -1), self.proj.weight.flatten(1), self.proj.bias)


class HybridHash(nn.Module):
    """The network, made of hybridhash.torch's operators, with the reference's names of parameters.

        net = HybridHash.from_file("best.safetensors").eval()
        outputs = net(net.normalise(pixels))             # float32 [B, bits] in (-1, 1)

    image_size, patch, in_channels (1 or 3), dims, heads, depths, bits: as a recipe's ``model`` says them. Weights start as the reference's:
    normal with 0.02, biases 0. In train() mode drop path draws from PyTorch's generator; its rate grows from 0 to
    ``drop_path`` with the layers.
    """

    def __init__(self, image_size: int = 224, patch: int = 4, in_channels: int = 3,
                 dims: tuple[int, ...] = (128, 256, 512), heads: tuple[int, ...] = (4, 8, 16),
                 depths: tuple[int, ...] = (2, 2, 15), bits: int = 64, drop_path: float = 0.5) -> None:
        super().__init__()
        self.config = Config(image_size, patch, in_channels, tuple(dims), tuple(heads), tuple(depths), bits, drop_path)
        self.config.validate()
        self.metadata: dict[str, str] = {}  # of the file it came from
        rates = torch.linspace(0, drop_path, sum(depths)).tolist()
        self.patch_embed = _Patches(self.config)
        self.levels = nn.ModuleList(
            _Level(self.config, level, [rates.pop(0) for _ in range(depth)]) for level, depth in enumerate(depths))
        self.norm = nn.LayerNorm(dims[2], eps=1e-6)
        self.hashlayer_train = _HashLayer(dims[2], bits)
        # pixel * scale - shift is (pixel / 255 - mean) / std as the engine computes it.
        self.register_buffer("scale", torch.full((in_channels,), 1 / 255), persistent=False)
        self.register_buffer("shift", torch.zeros(in_channels), persistent=False)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if parameter.dim() > 1 and "pos_embed_glo" not in name:
                    parameter.normal_(0, 0.02)
                elif name.endswith("bias"):
                    parameter.zero_()

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> HybridHash:
        """The network and weights of a model file or checkpoint. ValueError, which starts with the path; OSError."""
        model = read_model(path)
        c = model.config
        net = cls(c.image_size, c.patch, c.in_channels, c.dims, c.heads, c.depths, c.bits, c.drop_path)
        net.load_state_dict({name: torch.from_numpy(np.array(values)) for name, values in model.weights.items()})
        net.metadata = {key: text for key, text in model.metadata.items() if key != "weights_sha256"}
        mean, std = (np.float32(model.transform[key][:c.in_channels]) for key in ("mean", "std"))
        net.scale.copy_(torch.from_numpy(np.float32(1) / (np.float32(255) * std)))
        net.shift.copy_(torch.from_numpy(mean / std))
        return net

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes to ``path`` a model file with the present weights and what else the file had that this network came from: for
        hybridhash.Model and the program. ValueError where it came from none. Atomic."""
        if not self.metadata:
            raise ValueError("this network came from no model file, which would say how images are fed to it; save its "
                             "state_dict() and use python -m hybridhash.convert")
        weights = {name: tensor.detach().cpu().float().contiguous().numpy()
                   for name, tensor in self.state_dict().items()}
        tensors = {name: StoredTensor("F32", values.shape, values.reshape(-1).view(np.uint8))
                   for name, values in weights.items()}
        write_safetensors(path, tensors, {**self.metadata, "format": MODEL_FORMAT,
                                          "weights_sha256": weights_sha256(parameters(tensors, self.config))})

    def normalise(self, pixels: Tensor) -> Tensor:
        """``pixels`` uint8 [B, S, S, C] (channels last, of the network's size) -> float32 [B, C, S, S], as the file
        says, with the engine's bits."""
        size, channels = self.config.image_size, self.config.in_channels
        if pixels.dtype != torch.uint8 or pixels.shape[1:] != (size, size, channels):
            raise ValueError(f"pixels are {list(pixels.shape)} {str(pixels.dtype).split('.')[1]}: use uint8 "
                             f"[B, {size}, {size}, {channels}]")
        return (pixels * self.scale - self.shift).permute(0, 3, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [B, C, S, S], normalised -> float32 [B, bits] in (-1, 1); bit j of a code is 1 where output j > 0."""
        c = self.config
        if x.dim() != 4 or x.shape[1:] != (c.in_channels, c.image_size, c.image_size):
            raise ValueError(f"images are {list(x.shape)}: use [B, {c.in_channels}, {c.image_size}, {c.image_size}]")
        x = self.patch_embed(x)
        for level in self.levels:
            x = level(x, self.norm if level is self.levels[2] else None)
        return self.hashlayer_train(x)

# SPDX-License-Identifier: Apache-2.0
"""Shared helpers for the golden scripts.

No code of the reference lives here: `load_reference(path)` imports the authors'
checkout from a directory given by the caller.  Needs torch, numpy, timm==0.6.13.
"""
import hashlib
import importlib
import json
import math
import os
import sys

import numpy as np
import torch

M64 = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
SEEDMUL = 0xD1B54A32D192ED03


def fnv1a64(data: bytes) -> int:
    h = 0xCBF29CE484222325
    for b in data:
        h = ((h ^ b) * 0x100000001B3) & M64
    return h


def unit_stream(name: str, count: int, seed: int) -> np.ndarray:
    """`count` float32 values in [-1, 1): the splitmix64 stream of (name, seed)."""
    s0 = (fnv1a64(name.encode()) + seed * SEEDMUL) & M64
    with np.errstate(over="ignore"):
        z = np.uint64(s0) + (np.arange(1, count + 1, dtype=np.uint64)) * np.uint64(GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    u = (z >> np.uint64(40)).astype(np.float64) * 2.0 ** -24
    return (2.0 * u - 1.0).astype(np.float32)       # exact: 24 significant bits


def scale_exponent(fan_in: int) -> int:
    """Smallest k >= 0 with 3 * 4**k >= fan_in."""
    k = 0
    while 3 * 4 ** k < fan_in:
        k += 1
    return k


def gen_param(name: str, shape, seed: int) -> np.ndarray:
    n = int(np.prod(shape))
    x = unit_stream(name, n, seed)
    if "pos_embed" in name:
        v = x * np.float32(2.0 ** -4)
    elif name.endswith(".bias"):
        v = x * np.float32(2.0 ** -5)
    elif len(shape) == 1:                            # LayerNorm gamma
        v = np.float32(1.0) + x * np.float32(2.0 ** -3)
    else:
        fan_in = int(np.prod(shape[1:]))
        v = x * np.float32(2.0 ** -scale_exponent(fan_in))
    return v.astype(np.float32).reshape(shape)


def gen_input(shape, seed: int, name="input") -> np.ndarray:
    return (unit_stream(name, int(np.prod(shape)), seed) * np.float32(2.0)).reshape(shape)


def load_reference(ref_dir):
    """Returns (HybridHash module, loss class, tools module or None) of the authors' checkout."""
    sys.path.insert(0, ref_dir)
    model = importlib.import_module("model.HybridHash")
    loss = importlib.import_module("utils.Hash_Loss")
    try:
        tools = importlib.import_module("utils.tools")
    except Exception as e:                            # torchvision / loguru missing
        print("tools not importable:", e)
        tools = None
    return model, loss, tools


def build(model_mod, c):
    """The authors' class, with its hard-wired 14 (pool and upsample) replaced by b = S/p/4."""
    cfg = dict(n_class=c["n_class"], patch_size=c["patch"], img_size=c["size"],
               in_chans=c["in_chans"], bit=c["bits"])
    net = model_mod.HybridHash(cfg, num_levels=3, embed_dims=tuple(c["dims"]), num_heads=tuple(c["heads"]),
                               depths=tuple(c["depths"]), drop_path_rate=c.get("drop_path", 0.0))
    b = c["size"] // c["patch"] // 4
    if b != 14:
        for part in (net.levels[1].pool, net.levels[2].pool, net.hashlayer_train):
            part.pool_glo = torch.nn.AvgPool2d(b, b)
            part.upsample = torch.nn.Upsample(scale_factor=b, mode="bilinear", align_corners=False)
    return net


def fill(net, seed):
    with torch.no_grad():
        for k, v in net.state_dict().items():
            v.copy_(torch.from_numpy(gen_param(k, tuple(v.shape), seed)).to(v.dtype))


class Recorder:
    """Collects named intermediate tensors by forward hooks."""

    def __init__(self, net, inner=True):
        self.out = {}
        self.handles = []
        self._o("patch_embed", net.patch_embed)                      # B C g g
        for i, lv in enumerate(net.levels):
            p = f"level{i}"
            if i > 0:
                self._interact(f"{p}.im", lv.pool)
                self._i(f"{p}.im.sum_nhwc", lv.pool.norm)            # local+global, B H W C
                self._o(f"{p}.im.norm_nhwc", lv.pool.norm)
                self._o(f"{p}.im.local", lv.pool.conv)
                self._o(f"{p}.im.conv_glo", lv.pool.conv_glo)
                self._o(f"{p}.im.out", lv.pool)
            self._i(f"{p}.tokens_in", lv.transformer_encoder)         # after blockify + pos, B T N C
            for j, ly in enumerate(lv.transformer_encoder):
                if inner:
                    self._o(f"{p}.layer{j}.norm1", ly.norm1)
                    self._o(f"{p}.layer{j}.qkv", ly.attn.qkv)
                    self._i(f"{p}.layer{j}.attn_heads", ly.attn.proj)  # interleaved heads-last, before proj
                    self._o(f"{p}.layer{j}.attn", ly.attn)
                    self._o(f"{p}.layer{j}.norm2", ly.norm2)
                    self._o(f"{p}.layer{j}.mlp_hidden", ly.mlp.act)   # after GELU
                    self._o(f"{p}.layer{j}.mlp", ly.mlp)
                self._o(f"{p}.layer{j}.out", ly)
            self._o(f"{p}.out", lv)                                  # after deblockify, B C H W
        self._o("norm_nhwc", net.norm)
        h = net.hashlayer_train
        self._o("hash.convS1", h.convS1)
        self._o("hash.local", h.convS2)
        self._interact("hash", h)
        self._i("hash.sum", h.maxpool)
        self._o("hash.maxpool", h.maxpool)
        self._o("hash.conv2", h.conv2)
        self._o("hash.logits", h.avgpool)
        self._o("code", h.act)

    def _interact(self, p, m):
        self._o(f"{p}.pool_glo", m.pool_glo)
        self._i(f"{p}.glo_attn_heads", m.global_attention.proj)
        self._o(f"{p}.glo_attn_nhwc", m.global_attention)
        self._o(f"{p}.global", m.upsample)

    def _o(self, name, mod):
        self.handles.append(mod.register_forward_hook(
            lambda m, i, o, name=name: self.out.__setitem__(name, o.detach().clone())))

    def _i(self, name, mod):
        self.handles.append(mod.register_forward_pre_hook(
            lambda m, i, name=name: self.out.__setitem__(name, i[0].detach().clone())))

    def close(self):
        for h in self.handles:
            h.remove()
        self.out["hash.logits"] = self.out["hash.logits"].flatten(1)
        return self.out


def maxerr(a, b):
    a = a.double()
    b = b.double()
    return float((a - b).abs().max()), float(b.abs().max())


def digest(t, head=64, strided=64):
    """Small description of a tensor: first values, strided values, moments (all from float64)."""
    f = t.detach().double().reshape(-1)
    n = f.numel()
    step = max(1, n // strided)
    return dict(shape=list(t.shape), numel=n, first=f[:head].tolist(), stride=step,
                strided=f[::step][:strided].tolist(), mean=float(f.mean()),
                std=float(f.std(unbiased=False)), absmax=float(f.abs().max()), l2=float(f.norm()))


def put_sample(T, key, t, n=64):
    """first.KEY (<= n values), strided.KEY (every max(1, numel//n)-th, <= n values), stat.KEY (f64: mean, std, absmax, l2)."""
    f = t.detach().double().reshape(-1)
    T["first." + key] = f[:n].float().clone()
    T["strided." + key] = f[::max(1, f.numel() // n)][:n].float().clone()
    T["stat." + key] = torch.stack([f.mean(), f.std(unbiased=False), f.abs().max(), f.norm()])


def save_json(path, obj):
    with open(path, "w") as f:
        json.dump(obj, f, indent=1)


def sha(path):
    return hashlib.sha256(open(path, "rb").read()).hexdigest()


class Wml64:
    """Own float64 form of the reference's loss (the reference rounds S/S1, S/S0 to float32).

    With theta = alpha * u @ U^T and s = [y @ Y^T > 0]:
        L = mean over s=1 of (softplus(theta) - theta) + mean over s=0 of softplus(theta)
    (an empty side contributes 0).  U, Y rows `ind` are overwritten first; no gradient goes through U.
    """

    def __init__(self, U, Y, half_bank=False):
        self.round = (lambda t: t.half().double()) if half_bank else (lambda t: t.double())
        self.U, self.Y = self.round(U).clone(), Y.double().clone()

    def __call__(self, u, y, ind, cfg):
        self.U[ind] = self.round(u.detach())
        self.Y[ind] = y.double()
        s = (y.double() @ self.Y.t()) > 0
        theta = cfg["alpha"] * (u @ self.U.t())
        sp = torch.nn.functional.softplus(theta, threshold=1e9)   # torch's default switches to x above 20
        pos, neg = (sp - theta)[s], sp[~s]
        tot = u.sum() * 0
        if pos.numel():
            tot = tot + pos.mean()
        if neg.numel():
            tot = tot + neg.mean()
        return tot


def ref_loss32(loss_mod, U, Y, cfg):
    """The authors' loss object with the float32 bank of their commented-out line."""
    crit = loss_mod.HashNetLoss(dict(num_train=U.shape[0], n_class=Y.shape[1], device="cpu"), U.shape[1])
    crit.U, crit.Y = U.float().clone(), Y.float().clone()
    return crit

# SPDX-License-Identifier: Apache-2.0
"""docs/specification.md, sections 1, 2 and 7, as plain numpy (float64), checked against the goldens; needs numpy, scipy, safetensors only.
usage: check_spec.py DIR NAME..."""
import json
import os
import sys

import numpy as np
from safetensors.numpy import load_file
from scipy.special import erf


def gen(name, shape, seed):
    M = (1 << 64) - 1
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = ((h ^ b) * 0x100000001B3) & M
    s0 = (h + seed * 0xD1B54A32D192ED03) & M
    n = int(np.prod(shape))
    x = np.empty(n)
    with np.errstate(over="ignore"):
        z = np.uint64(s0) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    x = 2 * ((z >> np.uint64(40)).astype(np.float64) * 2.0 ** -24) - 1
    if "pos_embed" in name:
        x = x / 16
    elif name.endswith(".bias"):
        x = x / 32
    elif len(shape) == 1:
        x = (1 + x / 8).astype(np.float32).astype(np.float64)
    else:
        k, fan = 0, int(np.prod(shape[1:]))
        while 3 * 4 ** k < fan:
            k += 1
        x = x * 2.0 ** -k
    return x.reshape(shape)


class Model:
    def __init__(self, c):
        self.c = c

    def w(self, name, *shape):
        return gen(name, shape, self.c["seed"])

    def ln(self, x, name):
        C = x.shape[-1]
        m = x.mean(-1, keepdims=True)
        v = ((x - m) ** 2).mean(-1, keepdims=True)
        return (x - m) / np.sqrt(v + 1e-6) * self.w(name + ".weight", C) + self.w(name + ".bias", C)

    def lin(self, x, name, out, bias=True):
        y = x @ self.w(name + ".weight", out, x.shape[-1]).T
        return y + self.w(name + ".bias", out) if bias else y

    def conv(self, x, name, out, kh, kw, ph, pw, bias=True, stride=1):
        B, C, H, W = x.shape
        k = self.w(name + ".weight", out, C, kh, kw)
        p = np.zeros((B, C, H + 2 * ph, W + 2 * pw))
        p[:, :, ph:ph + H, pw:pw + W] = x
        oh, ow = (H + 2 * ph - kh) // stride + 1, (W + 2 * pw - kw) // stride + 1
        y = np.zeros((B, out, oh, ow))
        for i in range(kh):
            for j in range(kw):
                y += np.einsum("oc,bchw->bohw", k[:, :, i, j], p[:, :, i:i + stride * oh:stride, j:j + stride * ow:stride])
        return y + self.w(name + ".bias", out)[None, :, None, None] if bias else y

    @staticmethod
    def soft(a):
        e = np.exp(a - a.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    def heads(self, qkv, H):
        """qkv (..., n, 3C) -> (..., n, C) with channel = e*H + head."""
        C = qkv.shape[-1] // 3
        d = C // H
        out = np.empty(qkv.shape[:-1] + (C,))
        for h in range(H):
            q, k, v = (qkv[..., s * C + h * d:s * C + (h + 1) * d] for s in range(3))
            a = self.soft(q @ np.swapaxes(k, -1, -2) / np.sqrt(d))
            out[..., h::H] = a @ v
        return out

    @staticmethod
    def avg(x, b):
        B, C, H, W = x.shape
        return x.reshape(B, C, H // b, b, W // b, b).mean((3, 5))

    @staticmethod
    def maxp(x):
        B, C, H, W = x.shape
        p = np.full((B, C, H + 2, W + 2), -np.inf)
        p[:, :, 1:-1, 1:-1] = x
        oh, ow = (H - 1) // 2 + 1, (W - 1) // 2 + 1
        return np.max([p[:, :, i:i + 2 * oh - 1:2, j:j + 2 * ow - 1:2] for i in range(3) for j in range(3)], 0)

    @staticmethod
    def upmat(n, b):
        A = np.zeros((n * b, n))
        for i in range(n * b):
            s = max(0.0, (i + 0.5) / b - 0.5)
            i0 = int(s)
            A[i, i0] += 1 - (s - i0)
            A[i, min(i0 + 1, n - 1)] += s - i0
        return A

    def glo(self, z, name, b):
        B, C, m, _ = z.shape
        t = z.reshape(B, m * m, C) + self.w(name + ".pos_embed_glo", 1, m * m, C)      # a reshape, on purpose
        o = self.heads(self.lin(t, name + ".qkv", 3 * C, False), 8)
        o = self.lin(o, name + ".proj", C).reshape(B, m, m, C).transpose(0, 3, 1, 2)
        A = self.upmat(m, b)
        return np.einsum("im,bcmn,jn->bcij", A, o, A)

    def forward(self, x):
        c = self.c
        p, b = c["patch"], c["size"] // c["patch"] // 4
        st = {}
        x = self.conv(x, "patch_embed.proj", c["dims"][0], p, p, 0, 0, stride=p)
        st["patch_embed"] = x
        for l in range(3):
            C, H = c["dims"][l], c["heads"][l]
            L = f"levels.{l}"
            if l:
                P = L + ".pool"
                g = self.conv(x, P + ".conv_glo", C, 1, 1, 0, 0, bias=False)
                s = self.conv(x, P + ".conv", C, 3, 3, 1, 1) + self.glo(self.avg(g, b), P + ".global_attention", b)
                st[f"level{l}.im.sum_nhwc"] = s.transpose(0, 2, 3, 1)
                x = self.maxp(self.ln(s.transpose(0, 2, 3, 1), P + ".norm").transpose(0, 3, 1, 2))
                st[f"level{l}.im.out"] = x
            B, _, h, _ = x.shape
            G = h // b
            t = x.transpose(0, 2, 3, 1).reshape(B, G, b, G, b, C).transpose(0, 1, 3, 2, 4, 5).reshape(B, G * G, b * b, C)
            t = t + self.w(L + ".pos_embed", 1, G * G, b * b, C)
            st[f"level{l}.tokens_in"] = t
            for j in range(c["depths"][l]):
                E = f"{L}.transformer_encoder.{j}"
                t = t + self.lin(self.heads(self.lin(self.ln(t, E + ".norm1"), E + ".attn.qkv", 3 * C), H), E + ".attn.proj", C)
                u = self.lin(self.ln(t, E + ".norm2"), E + ".mlp.fc1", 4 * C)
                t = t + self.lin(u * 0.5 * (1 + erf(u / np.sqrt(2))), E + ".mlp.fc2", C)
                st[f"level{l}.layer{j}.out"] = t
            x = t.reshape(B, G, G, b, b, C).transpose(0, 1, 3, 2, 4, 5).reshape(B, h, h, C).transpose(0, 3, 1, 2)
            st[f"level{l}.out"] = x
        n = self.ln(x.transpose(0, 2, 3, 1), "norm")
        st["norm_nhwc"] = n
        f = n.transpose(0, 3, 1, 2)
        C, h = c["dims"][2], "hashlayer_train"
        loc = self.conv(self.conv(f, h + ".convS1", C, 1, 3, 0, 1), h + ".convS2", C, 3, 1, 1, 0)
        st["hash.local"] = loc
        s = loc + self.glo(self.avg(f, b), h + ".global_attention", b)
        st["hash.sum"] = s
        st["hash.logits"] = self.conv(self.maxp(s), h + ".conv2", c["bits"], 1, 1, 0, 0).mean((2, 3))
        st["code"] = np.tanh(st["hash.logits"])
        return st


def loss(u, U, Y, y, ind, alpha):
    U, Y = U.copy(), Y.copy()
    U[ind], Y[ind] = u, y
    s, th = (y @ Y.T) > 0, alpha * (u @ U.T)
    sp = np.logaddexp(0, th)
    r = ((1 / (1 + np.exp(-th))) - s) * alpha
    w = np.where(s, 1 / max(s.sum(), 1), 1 / max((~s).sum(), 1))
    L = (w * (sp - s * th)).sum()
    return L, (w * r) @ U


def main():
    d = sys.argv[1]
    for n in sys.argv[2:]:
        T, J = load_file(os.path.join(d, n + ".safetensors")), json.load(open(os.path.join(d, n + ".json")))
        c = J["config"]
        x = T["input"].astype(np.float64)
        st = Model(c).forward(x)
        worst = max((float(np.abs(v - T["stage." + k]).max() / np.abs(v).max()), k) for k, v in st.items())
        L, g = loss(np.array(J["code_f64"]), T["bank_U"].astype(np.float64), T["bank_Y"].astype(np.float64), T["y"].astype(np.float64), T["ind"], c["alpha"])
        e = float(np.abs(g - T["dLdu"]).max() / np.abs(g).max())
        code = float(np.abs(st["code"] - np.array(J["code_f64"])).max())
        print(n, "worst stage", worst, "code abs", code, "loss", abs(L - J["losses_f64"][0]), "dLdu rel", e)
        assert worst[0] < 2e-7 and code < 1e-12 and abs(L - J["losses_f64"][0]) < 1e-12 and e < 2e-7


main()

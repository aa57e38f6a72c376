# SPDX-License-Identifier: Apache-2.0
"""Fused kernels beside PyTorch, op by op, float32: compare_ops.py HH_BENCH [--threads 2] [--filter REGEX] [--seconds 0.1]
[--device cuda]. Other versions of an op that are built in (docs/kernels/your-own.md) have a line each.
The shapes are those of hh_bench's cases at the preset `paper`. PyTorch is the faster of eager and torch.compile. A case
is timed in turns, ours and then PyTorch's, --rounds times, each side by its median; the ratio is the median of the
rounds' ratios, so that a machine whose speed changes slows both. A backward pass is timed alone, on a graph that is kept.
"""
import argparse
import json
import math
import re
import statistics
import subprocess
import tempfile
import time

import torch
import torch._functorch.config
import torch.nn.functional as F

torch._functorch.config.donated_buffer = False  # a kept graph is gone through again and again
CASES = (r"^(residual_layer_norm_(forward|backward)|bias_gelu_(forward|backward)|window_attention_(forward|backward)|"
         r"interaction_merge_(forward|backward)|wml_loss_(forward|forward_backward))/f32/")


def layer_norm(rows, c):
    def f(residual, branch, bias, scale, gamma, beta):
        z = residual + scale * (branch + bias)
        return z, F.layer_norm(z, (c,), gamma, beta, 1e-6)
    return [f], [torch.randn(rows, c), torch.randn(rows, c), torch.randn(c), torch.rand(rows, 1), torch.randn(c), torch.randn(c)], (0, 1, 2, 4, 5)


def bias_gelu(rows, c):
    return [lambda x, b: F.gelu(x + b)], [torch.randn(rows, c), torch.randn(c)], (0, 1)


def attention(windows, n, heads, d):
    def parts(qkv):
        return qkv.reshape(windows, n, 3, heads, d).permute(2, 0, 3, 1, 4)

    def plain(qkv):
        q, k, v = parts(qkv)
        return (((q @ k.transpose(-2, -1)) * d**-0.5).softmax(-1) @ v).transpose(1, 2).reshape(windows, n, heads * d)

    def library(qkv):
        q, k, v = parts(qkv)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(windows, n, heads * d)
    return [plain, library], [torch.randn(windows, n, 3 * heads * d)], (0,)


def merge(b, m, s, c):
    def f(local, glob, gamma, beta):
        glob = F.interpolate(glob.permute(0, 3, 1, 2), scale_factor=s, mode="bilinear", align_corners=False)
        x = F.layer_norm(local + glob.permute(0, 2, 3, 1), (c,), gamma, beta, 1e-6)
        return F.max_pool2d(x.permute(0, 3, 1, 2), 3, 2, 1)
    return [f], [torch.randn(b, m * s, m * s, c), torch.randn(b, m, m, c), torch.randn(c), torch.randn(c)], (0, 1, 2, 3)


def wml(images, rows, bits):
    y = F.one_hot(torch.randint(100, (images,)), 100).float()
    labels = F.one_hot(torch.randint(100, (rows,)), 100).float()

    def f(u, bank):
        similar = (y @ labels.t() > 0).float()
        theta = 0.5 * u @ bank.t()
        loss = torch.log1p(torch.exp(-theta.abs())) + theta.clamp(min=0) - similar * theta
        ones, all_ = similar.sum(), similar.numel()
        weight = torch.where(similar > 0, all_ / ones.clamp(min=1), all_ / (all_ - ones).clamp(min=1))
        return (loss * weight).mean()
    return [f], [torch.randn(images, bits), torch.randn(rows, bits)], (0,)


OPS = {"residual_layer_norm": layer_norm, "bias_gelu": bias_gelu, "window_attention": attention,
       "interaction_merge": merge, "wml_loss": wml}


def median_us(call, seconds, wait):
    call(), call(), wait()
    times, start = [], time.perf_counter()
    while len(times) < 15 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        call(), wait()
        times.append(time.perf_counter() - before)
    return sorted(times)[len(times) // 2] * 1e6


def torch_calls(name, compiled, device):
    """(label, call) for each way of doing a case."""
    op = next(o for o in OPS if name.startswith(o))
    mode, shape = name.split("/")[0][len(op) + 1:], [int(x) for x in name.split("/")[-1].split("x")]
    ways, arguments, wanted = OPS[op](*shape)
    calls = []
    for label, wrap in (("eager", lambda f: f), *((("compiled", torch.compile),) if compiled else ())):
        for way in ways:
            f = wrap(way)
            inputs = [a.to(device, copy=True).requires_grad_(mode != "forward" and i in wanted) for i, a in enumerate(arguments)]
            leaves = [inputs[i] for i in wanted]
            if mode == "forward":
                def call(f=f, inputs=inputs):
                    with torch.no_grad():
                        f(*inputs)
            elif mode == "forward_backward":
                def call(f=f, inputs=inputs, leaves=leaves):
                    torch.autograd.grad(f(*inputs), leaves)
            else:
                out = f(*inputs)
                seeds = [torch.randn_like(o) for o in out] if isinstance(out, tuple) else torch.randn_like(out)

                def call(out=out, leaves=leaves, seeds=seeds):
                    torch.autograd.grad(out, leaves, seeds, retain_graph=True)
            calls.append((label, call))
    return calls


def our_us(a, name):
    """By name, of the product's kernel and of each other version of it. Of hh_bench's 12 rounds, each of a.seconds: as long
    and as warm as a turn of PyTorch's."""
    with tempfile.NamedTemporaryFile() as f:
        subprocess.run([a.hh_bench, "run", "--preset", "paper", "--filter", f"^{name}$", "--threads", str(a.threads),
                        "--min-time", str(12 * a.seconds), "--device", a.device, "--json", f.name],
                       check=True, stdout=subprocess.DEVNULL)
        with open(f.name) as records:  # by name: hh_bench puts another file in its place
            return {r["bench"]: r["median_us"] for r in map(json.loads, records)}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("hh_bench")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--filter", default=".")
    p.add_argument("--seconds", type=float, default=0.1)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--device", default="cpu")
    p.add_argument("--eager", action="store_true", help="without torch.compile")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    wait = torch.cuda.synchronize if a.device.startswith("cuda") else lambda: None
    listed = subprocess.run([a.hh_bench, "list", "--preset", "paper", "--filter", CASES], check=True, text=True,
                            stdout=subprocess.PIPE).stdout.split()
    print(f"{'case, float32, ' + (str(a.threads) + ' threads' if a.device == 'cpu' else a.device):52} {'ours us':>9} {'eager us':>9} {'compiled':>9} {'ratio':>6}"
          f"   of {a.rounds} rounds")
    for name in listed:
        if not re.search(a.filter, name):
            continue
        calls, seen = torch_calls(name, not a.eager, a.device), {}
        for _ in range(a.rounds):
            ours = our_us(a, name)
            times = {label: min((median_us(call, a.seconds, wait) for way, call in calls if way == label), default=math.nan)
                     for label in ("eager", "compiled")}
            best = min(t for t in times.values() if t == t)
            for version, us in ours.items():
                seen.setdefault(version, []).append({"ours": us, "ratio": best / us, **times})
        for version, rounds in seen.items():
            middle = {key: statistics.median(t[key] for t in rounds) for key in rounds[0]}
            ratios = sorted(t["ratio"] for t in rounds)
            print(f"{version:52} {middle['ours']:9.0f} {middle['eager']:9.0f} {middle['compiled']:9.0f} {middle['ratio']:6.2f}   "
                  f"{ratios[0]:.2f} to {ratios[-1]:.2f}", flush=True)


if __name__ == "__main__":
    main()

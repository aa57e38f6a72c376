# SPDX-License-Identifier: Apache-2.0
"""Micro-model goldens.  usage: make_model_goldens.py REF_DIR CONFIGS.json OUT_DIR [NAME...]

For every config (or those named): NAME.safetensors (input, labels, bank, stages, grads, updated weights; float64 results
rounded to float32), NAME.weights.safetensors (if "save_weights") and NAME.json (scalars, float32-vs-float64
errors of PyTorch itself).  What is not stored in full is there as first./strided./stat. samples (docs/specification.md, section 8).
"""
import copy
import json
import os
import sys

import numpy as np
import torch
from safetensors.torch import save_file

import hh_common as hh


class MaskedPath(torch.nn.Module):
    """Drop path with given keep masks, one per call, in call order: x * mask / keep."""

    def __init__(self, masks, keep):
        super().__init__()
        self.masks, self.keep, self.n = masks, keep, 0

    def forward(self, x):
        m = self.masks[self.n % len(self.masks)].to(x.dtype)
        self.n += 1
        return x * (m / self.keep).view(-1, *([1] * (x.dim() - 1)))


def labels_for(c):
    rng = np.random.default_rng(c["seed"] + 1000)
    n, k, b = c["bank"], c["n_class"], c["batch"]
    if c["multi_label"]:
        Y = (rng.random((n, k)) < c.get("label_p", 2.0 / k)).astype(np.float32)
        y = (rng.random((b, k)) < c.get("label_p", 2.0 / k)).astype(np.float32)
        for i in range(b):
            if y[i].sum() == 0:
                y[i, rng.integers(k)] = 1
    else:
        Y = np.eye(k, dtype=np.float32)[rng.integers(0, k, n)]
        y = np.eye(k, dtype=np.float32)[rng.integers(0, k, b)]
    U = np.tanh(rng.normal(size=(n, c["bits"]))).astype(np.float32)
    seen = rng.random(n) < 0.75                       # rows not seen yet are all zero, codes and labels
    U[~seen] = 0
    Y[~seen] = 0
    ind = rng.permutation(n)[:b]
    return map(torch.from_numpy, (U, Y, y, ind.astype(np.int64)))


def run(model_mod, loss_mod, c, dtype, x0, U, Y, y, ind, record):
    net = hh.build(model_mod, c)
    hh.fill(net, c["seed"])
    net = net.to(dtype).eval()
    loss_cfg = dict(num_train=c["bank"], n_class=c["n_class"], device="cpu", alpha=c["alpha"])
    crit = new_loss(loss_mod, dtype, U, Y, loss_cfg)
    res = {}
    x = x0.to(dtype).clone().requires_grad_(True)
    rec = hh.Recorder(net, inner=c.get("inner", False)) if record else None
    u = net(x)
    if rec:
        res["stages"] = rec.close()
    loss = crit(u, y, ind, loss_cfg)
    loss.backward()
    res["losses"] = [float(loss.detach())]
    res["dLdx"] = x.grad.clone()
    res["grads"] = {k: (None if p.grad is None else p.grad.clone()) for k, p in net.named_parameters()}
    res["bank_after"] = crit.U.clone()
    v = u.detach().clone().requires_grad_(True)
    res["dLdu"] = torch.autograd.grad(new_loss(loss_mod, dtype, U, Y, loss_cfg)(v, y, ind, loss_cfg), v)[0]
    opt = torch.optim.RMSprop(net.parameters(), lr=c["lr"], weight_decay=c["wd"])
    res["steps"] = {}
    crit = new_loss(loss_mod, dtype, U, Y, loss_cfg)
    for s in range(1, 6):
        opt.zero_grad()
        loss = crit(net(x0.to(dtype)), y, ind, loss_cfg)
        loss.backward()
        opt.step()
        if s > 1:
            res["losses"].append(float(loss.detach()))
        if s in (1, 2, 5):
            res["steps"][s] = {k: v.clone() for k, v in net.state_dict().items()}
    with torch.no_grad():
        res["losses"].append(float(crit(net(x0.to(dtype)), y, ind, loss_cfg)))
    res["sq_avg"] = {k: opt.state[p]["square_avg"].clone() for k, p in net.named_parameters() if p in opt.state and opt.state[p]}
    return net, res


def new_loss(loss_mod, dtype, U, Y, cfg):
    return hh.Wml64(U, Y) if dtype == torch.float64 else hh.ref_loss32(loss_mod, U, Y, cfg)


def droppath_case(model_mod, c, x0, seed):
    net = hh.build(model_mod, c)
    hh.fill(net, c["seed"])
    net = net.double().eval()
    rng = np.random.default_rng(seed)
    out = {}
    rates = torch.linspace(0, 0.5, sum(c["depths"])).tolist()
    k = 0
    for i, lv in enumerate(net.levels):
        for j, ly in enumerate(lv.transformer_encoder):
            if rates[k] > 0:
                m = torch.from_numpy((rng.random((2, c["batch"])) < 1 - rates[k]).astype(np.float32))
                ly.drop_path = MaskedPath([m[0], m[1]], 1 - rates[k])
                out[f"droppath.mask.level{i}.layer{j}"] = m
            k += 1
    x = x0.double().requires_grad_(True)
    u = net(x)
    u.sum().backward()
    out["droppath.code"] = u.detach().float()
    out["droppath.dsum_dx"] = x.grad.float()
    return out, rates


def main():
    ref, cfgs, outdir, *names = sys.argv[1:]
    torch.set_num_threads(2)
    model_mod, loss_mod, _ = hh.load_reference(ref)
    os.makedirs(outdir, exist_ok=True)
    for c in json.load(open(cfgs)):
        name = c["name"]
        if names and name not in names:
            continue
        U, Y, y, ind = labels_for(c)
        x0 = torch.from_numpy(hh.gen_input((c["batch"], c["in_chans"], c["size"], c["size"]), c["seed"]))
        net64, r = run(model_mod, loss_mod, c, torch.float64, x0, U, Y, y, ind, True)
        _, s = run(model_mod, loss_mod, c, torch.float32, x0, U, Y, y, ind, True)
        T = {"input": x0, "y": y, "ind": ind, "bank_U": U, "bank_Y": Y, "bank_U_after": r["bank_after"].float(),
             "grad_input": r["dLdx"].float(), "dLdu": r["dLdu"].float()}
        meta = dict(config=c, losses_f64=r["losses"], losses_f32=s["losses"], code_f64=r["stages"]["code"].tolist(),
                    logits_f64=r["stages"]["hash.logits"].tolist(), f32_error={})
        for k, v in r["stages"].items():
            T["stage." + k] = v.float()
            meta["f32_error"]["stage." + k] = hh.maxerr(s["stages"][k], v)
        meta["f32_error"]["grad_input"] = hh.maxerr(s["dLdx"], r["dLdx"])
        meta["params_without_grad"] = [k for k, g in r["grads"].items() if g is None]
        gmax = max(float(g.abs().max()) for g in r["grads"].values() if g is not None)
        meta["max_abs_grad_over_all"] = gmax
        full = c.get("full", [])
        for k, g in r["grads"].items():
            if g is None:
                continue
            meta["f32_error"]["grad." + k] = hh.maxerr(s["grads"][k], g)
            if "grads" in full:
                T["grad." + k] = g.float()
            else:
                hh.put_sample(T, "grad." + k, g)
        for st, sd in r["steps"].items():
            for k, v in sd.items():
                a, b = hh.maxerr(s["steps"][st][k], v)
                d = (s["steps"][st][k].double() - v).abs().reshape(-1)
                meta["f32_error"][f"step{st}.{k}"] = [a, b, float((d > 1e-6).double().mean())]
                if f"step{st}" in full:
                    T[f"step{st}." + k] = v.float()
                else:
                    hh.put_sample(T, f"step{st}." + k, v)
        for k, v in r["sq_avg"].items():
            hh.put_sample(T, "sq_avg5." + k, v)
        if c.get("droppath_seed") is not None:
            d, rates = droppath_case(model_mod, c, x0, c["droppath_seed"])
            T.update(d)
            meta["droppath_rates"] = rates
        save_file({k: v.contiguous() for k, v in T.items()}, os.path.join(outdir, name + ".safetensors"))
        if c.get("save_weights"):
            W = {k: torch.from_numpy(hh.gen_param(k, tuple(v.shape), c["seed"])) for k, v in net64.state_dict().items()}
            save_file(W, os.path.join(outdir, name + ".weights.safetensors"))
        hh.save_json(os.path.join(outdir, name + ".json"), meta)
        n = sum(p.numel() for p in net64.parameters())
        print(name, "params", n, "losses", r["losses"], "f32", s["losses"], "code", r["stages"]["code"][0, :4].tolist(),
              "stage err", max((v for k, v in meta["f32_error"].items() if k.startswith("stage")), key=lambda t: t[0] / (t[1] + 1e-30)))


main()

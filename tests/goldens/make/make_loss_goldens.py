# SPDX-License-Identifier: Apache-2.0
"""Loss-only goldens.  usage: make_loss_goldens.py REF_DIR CONFIGS.json FILE OUT_DIR

FILE is one of the lists of cases in CONFIGS.json; it becomes OUT_DIR/FILE.safetensors and FILE.json.

For every case NAME: NAME.u, NAME.U (before), NAME.Y (uint8, before), NAME.y (uint8), NAME.ind, and
NAME.loss_f64, NAME.dLdu_f64 (float bank), NAME.loss_f64_halfbank, NAME.dLdu_f64_halfbank (bank rows rounded to
float16 after the update, all arithmetic float64), NAME.theta_sum etc. in the JSON.
"""
import json
import os
import sys

import numpy as np
import torch
from safetensors.torch import save_file

import hh_common as hh


def case(c):
    rng = np.random.default_rng(c["seed"])
    n, k, b, q = c["bank"], c["n_class"], c["batch"], c["bits"]
    if c["labels"] == "single":
        cls = rng.integers(0, k, n)
        Y = np.eye(k, dtype=np.uint8)[cls]
        y = np.eye(k, dtype=np.uint8)[rng.integers(0, k, b)]
    elif c["labels"] == "multi":
        Y = (rng.random((n, k)) < c["p"]).astype(np.uint8)
        y = (rng.random((b, k)) < c["p"]).astype(np.uint8)
    elif c["labels"] == "all_similar":
        Y, y = np.ones((n, k), np.uint8), np.ones((b, k), np.uint8)
    elif c["labels"] == "none_similar":               # all-zero label rows: no positive pair at all
        Y, y = np.zeros((n, k), np.uint8), np.zeros((b, k), np.uint8)
    U = np.tanh(2 * rng.normal(size=(n, q))).astype(np.float32)
    unseen = rng.random(n) < c["unseen"]
    U[unseen] = 0
    Y[unseen] = 0
    u = np.tanh(rng.normal(size=(b, q))).astype(np.float32)
    ind = rng.permutation(n)[:b].astype(np.int64)
    return U, Y, u, y, ind


def grad_of(fn, u):
    v = u.clone().requires_grad_(True)
    l = fn(v)
    return float(l.detach()), torch.autograd.grad(l, v)[0]


def main():
    ref, cfgs, file, outdir = sys.argv[1:5]
    torch.set_num_threads(2)
    _, loss_mod, _ = hh.load_reference(ref)
    T, J = {}, {}
    for c in json.load(open(cfgs))[file]:
        n = c["name"]
        U, Y, u, y, ind = case(c)
        U, Y, u, y, ind = map(torch.from_numpy, (U, Y, u, y, ind))
        cfg = dict(alpha=c["alpha"])
        l64, g64 = grad_of(lambda v: hh.Wml64(U, Y)(v, y, ind, cfg), u.double())

        lh, gh = grad_of(lambda v: hh.Wml64(U, Y, half_bank=True)(v, y, ind, cfg), u.double())
        crit = hh.ref_loss32(loss_mod, U, Y, cfg)
        l32, g32 = grad_of(lambda v: crit(v, y.float(), ind, cfg), u)
        s = (y.double() @ crit.Y.double().t()) > 0
        J[n] = dict(config=c, loss_f64=l64, loss_ref_f32=l32, loss_f64_halfbank=lh, S1=int(s.sum()), S0=int((~s).sum()),
                    grad_err_ref_f32=hh.maxerr(g32, g64))
        # the reference as it stands (half bank) under CPU autocast to float16: for information only
        try:
            ch = loss_mod.HashNetLoss(dict(num_train=c["bank"], n_class=c["n_class"], device="cpu"), c["bits"])
            ch.U, ch.Y = U.half().clone(), Y.float().clone()
            with torch.autocast("cpu", dtype=torch.float16):
                la, ga = grad_of(lambda v: ch(v, y.float(), ind, cfg), u.half())
            J[n]["loss_ref_autocast_f16_cpu"] = la
            J[n]["grad_err_ref_autocast_f16_cpu"] = hh.maxerr(ga, g64)
        except Exception as e:
            J[n]["autocast_f16_cpu_error"] = repr(e)
        T.update({f"{n}.u": u, f"{n}.U": U, f"{n}.Y": Y, f"{n}.y": y, f"{n}.ind": ind,
                  f"{n}.loss_f64": torch.tensor([l64], dtype=torch.float64), f"{n}.dLdu_f64": g64,
                  f"{n}.loss_f64_halfbank": torch.tensor([lh], dtype=torch.float64), f"{n}.dLdu_f64_halfbank": gh})
        print(n, J[n])
    save_file({k: v.contiguous() for k, v in T.items()}, os.path.join(outdir, file + ".safetensors"))
    hh.save_json(os.path.join(outdir, file + ".json"), J)


main()

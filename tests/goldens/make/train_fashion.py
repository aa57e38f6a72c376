# SPDX-License-Identifier: Apache-2.0
"""Baseline: the authors' model at micro size on Fashion-MNIST.
usage: train_fashion.py REF_DIR OUT.json [--seconds 360 --opt rmsprop --lr 3e-4 --wd 1e-5 --drop-path 0 --eval-db 65000 ...]"""
import argparse
import json
import time

import numpy as np
import torch

import fashion_data as fd
import hh_common as hh
import metrics as mt


def encode(net, X, bs=256):
    net.eval()
    t = time.time()
    out = []
    with torch.no_grad():
        for i in range(0, len(X), bs):
            out.append(net(torch.from_numpy(fd.tensorize(X[i:i + bs]))))
    c = torch.sign(torch.cat(out)).numpy()
    return c, time.time() - t


def main():
    a = argparse.ArgumentParser()
    a.add_argument("ref")
    a.add_argument("out")
    a.add_argument("--seconds", type=float, default=360)
    a.add_argument("--epochs", type=int, default=1000)
    a.add_argument("--opt", default="rmsprop")
    a.add_argument("--lr", type=float, default=3e-4)
    a.add_argument("--wd", type=float, default=1e-5)
    a.add_argument("--drop-path", type=float, default=0.0)
    a.add_argument("--init", default="reference", choices=["reference", "generator"])
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--bits", type=int, default=32)
    a.add_argument("--alpha", type=float, default=0.5)
    a.add_argument("--cosine-epochs", type=int, default=0)
    a.add_argument("--quick-db", type=int, default=5000)
    a.add_argument("--full-final", type=int, default=1)
    a.add_argument("--quick-every", type=int, default=1)
    p = a.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    np.random.seed(0)
    model_mod, loss_mod, _ = hh.load_reference(p.ref)
    X, L = fd.load()
    q, tr, db = fd.split(L, 0)
    c = dict(size=32, patch=2, in_chans=1, dims=[32, 64, 128], heads=[1, 2, 4], depths=[1, 1, 2], bits=p.bits, n_class=10,
             drop_path=p.drop_path)
    net = hh.build(model_mod, c)
    if p.init == "generator":
        hh.fill(net, p.seed)
    crit = hh.ref_loss32(loss_mod, torch.zeros(len(tr), p.bits), torch.zeros(len(tr), 10), None)
    cfg = dict(alpha=p.alpha)
    if p.opt == "rmsprop":
        opt = torch.optim.RMSprop(net.parameters(), lr=p.lr, weight_decay=p.wd)
    else:
        opt = torch.optim.AdamW(net.parameters(), lr=p.lr, weight_decay=p.wd)
    T = torch.from_numpy(fd.tensorize(X[tr]))
    Y = torch.nn.functional.one_hot(torch.from_numpy(L[tr].astype(np.int64)), 10).float()
    rng = np.random.default_rng(1)
    quick = np.sort(rng.choice(db, p.quick_db, replace=False))
    log, spent = [], 0.0
    for ep in range(p.epochs):
        net.train()
        if p.cosine_epochs:
            f = 0.5 * (1 + np.cos(np.pi * min(1, ep / p.cosine_epochs)))
            for g in opt.param_groups:
                g["lr"] = p.lr * max(f, 0.01)
        perm = torch.randperm(len(tr))
        t = time.time()
        tot = 0.0
        for i in range(0, len(tr), 64):
            ind = perm[i:i + 64]
            opt.zero_grad()
            loss = crit(net(T[ind]), Y[ind], ind, cfg)
            loss.backward()
            opt.step()
            tot += float(loss.detach())
        dt = time.time() - t
        spent += dt
        e = dict(epoch=ep + 1, loss=tot / ((len(tr) + 63) // 64), seconds=dt, images_per_s=len(tr) / dt)
        done = spent >= p.seconds or ep + 1 == p.epochs
        if (ep + 1) % p.quick_every == 0 or done:
            bq, _ = encode(net, X[q])
            bd, _ = encode(net, X[quick])
            e["quick_map"] = mt.map_stable(bq, L[q], bd, L[quick], None)
        log.append(e)
        print(e, flush=True)
        if done:
            break
    r = dict(args=vars(p), config=c, epochs=log, train_seconds=spent, best_epoch_images_per_s=max(e["images_per_s"] for e in log))
    if p.full_final:
        bq, tq = encode(net, X[q])
        bd, td = encode(net, X[db])
        r["encode_seconds_database"], r["encode_images_per_s"] = td, len(db) / td
        r["map_all_stable"] = mt.map_stable(bq, L[q], bd, L[db], None)
        r["map_1000_stable"] = mt.map_stable(bq, L[q], bd, L[db], 1000)
        r["map_all_expected"] = mt.map_expected(bq, L[q], bd, L[db], None)
        print({k: r[k] for k in r if k.startswith(("map", "enc"))}, flush=True)
    hh.save_json(p.out, r)


main()

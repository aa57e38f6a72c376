# SPDX-License-Identifier: Apache-2.0
"""Retrieval goldens.  usage: make_metric_goldens.py REF_DIR CONFIGS.json OUT_DIR PREFIX

Writes PREFIX.safetensors (packed codes, labels, per-query results) and PREFIX.json (all scalars and curves).
Codes are packed little-endian: bit j of a code is (byte[j // 8] >> (j % 8)) & 1, 1 for +1 and 0 for -1.
"""
import hashlib
import json
import os
import sys

import numpy as np
import torch
from safetensors.torch import save_file

import hh_common as hh
import metrics as mt


def make(c):
    rng = np.random.default_rng(c["seed"])
    b, nq, nd, k = c["bits"], c["queries"], c["database"], c["n_class"]
    if c["labels"] == "single":
        cq, cd = rng.integers(0, k, nq), rng.integers(0, k, nd)
        lq, ld = np.eye(k, dtype=np.uint8)[cq], np.eye(k, dtype=np.uint8)[cd]
    else:
        lq = (rng.random((nq, k)) < c["p"]).astype(np.uint8)
        ld = (rng.random((nd, k)) < c["p"]).astype(np.uint8)
    if c["codes"] == "random":
        q, d = rng.integers(0, 2, (nq, b)), rng.integers(0, 2, (nd, b))
    else:                                              # a prototype per class, summed, with flipped bits
        proto = rng.normal(size=(k, b))
        noise = lambda l: (l @ proto + 1.1 * rng.normal(size=(len(l), b)) * np.sqrt(np.maximum(l.sum(1, keepdims=True), 1)) > 0).astype(int)
        q, d = noise(lq), noise(ld)
    return (2 * q - 1).astype(np.int8), lq, (2 * d - 1).astype(np.int8), ld


def pack(s):
    return np.packbits((s > 0).astype(np.uint8), axis=1, bitorder="little")


def main():
    ref, cfgs, outdir, prefix = sys.argv[1:5]
    _, _, tools = hh.load_reference(ref)
    tools.tqdm = lambda it, **kw: it                   # no progress bars
    T, J = {}, {"numpy": np.__version__}
    for c in json.load(open(cfgs)):
        n = c["name"]
        q, lq, d, ld = make(c)
        b, nd = c["bits"], len(d)
        D = np.stack([r for r, _ in mt.rows(q, lq, d, ld)])
        R = np.stack([r for _, r in mt.rows(q, lq, d, ld)])
        D8 = D.astype(np.uint8)
        ranks = np.argsort(D, axis=1, kind="stable")
        G = np.take_along_axis(R, ranks, 1)
        j = dict(config=c, hamming_u8_fnv1a64=f"{hh.fnv1a64(D8.tobytes()):016x}" if D8.size < 1 << 20 else None,
                 hamming_u8_sha256=hashlib.sha256(D8.tobytes()).hexdigest(),
                 stable_rank_u32_sha256=hashlib.sha256(ranks.astype(np.uint32).tobytes()).hexdigest(),
                 queries_without_relevant=int((R.sum(1) == 0).sum()))
        rq, rd = q.astype(np.float32), d.astype(np.float32)
        authors = {}
        for name, k in (("all_topK_-1", -1), ("full", nd), ("1000", 1000), ("5000", 5000), ("10", 10)):
            authors[name] = float(tools.CalcTopMap(rd, rq, ld.astype(np.int64), lq.astype(np.int64), k, 10)[0])
        j["map_authors_numpy_default_argsort"] = authors
        ks = {"full": None, "all_topK_-1": nd - 1, "5000": 5000, "1000": 1000, "100": 100, "10": 10}
        j["map_stable"] = {s: mt.map_stable(q, lq, d, ld, k) for s, k in ks.items()}
        j["map_expected"] = {s: mt.map_expected(q, lq, d, ld, k) for s, k in ks.items()}
        rng = np.random.default_rng(7)
        sel = range(min(10, len(q)))
        j["monte_carlo_first_10_queries"] = {}
        for s, k in (("full", None), ("1000", 1000), ("10", 10)):
            mc = np.array([[mt.ap_random(D[i], R[i], k, rng) for _ in range(100)] for i in sel])
            ex = np.mean([mt.ap_expected(*mt.groups(D[i], R[i], b), k) for i in sel])
            j["monte_carlo_first_10_queries"][s] = dict(expected=float(ex), sampled=float(mc.mean()),
                                                        stderr=float(np.sqrt((mc.var(1, ddof=1) / 100).sum()) / len(sel)))
        tot = np.maximum(R.sum(1), 1)
        cum = np.cumsum(G, 1)
        kk = [k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if k <= nd]
        j["precision_at_k_stable"] = {k: float(np.mean(cum[:, k - 1] / k)) for k in kk}
        j["recall_at_k_stable"] = {k: float(np.mean(cum[:, k - 1] / tot)) for k in kk}
        nd_r = np.stack([np.bincount(x, minlength=b + 1) for x in D]).cumsum(1)
        rr = np.stack([np.bincount(x[y], minlength=b + 1) for x, y in zip(D, R)]).cumsum(1)
        pr = np.where(nd_r > 0, rr / np.maximum(nd_r, 1), 0.0)
        j["by_radius"] = dict(retrieved=nd_r.sum(0).tolist(), relevant=rr.sum(0).tolist(),
                              precision_micro=[float(a / x) if x else None for a, x in zip(rr.sum(0), nd_r.sum(0))],
                              precision_mean_empty_is_0=pr.mean(0).tolist(), recall_mean=(rr / tot[:, None]).mean(0).tolist(),
                              queries_with_results=(nd_r > 0).sum(0).tolist())
        j["precision_within_radius_2"] = float(pr[:, 2].mean())
        t = lambda a: torch.from_numpy(np.ascontiguousarray(a))
        T.update({f"{n}.query_codes": t(pack(q)), f"{n}.db_codes": t(pack(d)), f"{n}.query_labels": t(lq), f"{n}.db_labels": t(ld),
                  f"{n}.hamming_row0": t(D8[0]), f"{n}.ap_stable_full": t(np.array([mt.ap_of_ranked(g) for g in G])),
                  f"{n}.ap_expected_full": t(np.array([mt.ap_expected(*mt.groups(D[i], R[i], b), None) for i in range(len(q))])),
                  f"{n}.ap_stable_1000": t(np.array([mt.ap_of_ranked(g[:1000]) for g in G])),
                  f"{n}.ap_expected_1000": t(np.array([mt.ap_expected(*mt.groups(D[i], R[i], b), 1000) for i in range(len(q))])),
                  f"{n}.stable_top10": t(ranks[:, :10].astype(np.int32))})
        J[n] = j
        print(n, authors, j["map_stable"], j["map_expected"], j["monte_carlo_first_10_queries"], flush=True)
    save_file(T, os.path.join(outdir, prefix + ".safetensors"))
    hh.save_json(os.path.join(outdir, prefix + ".json"), J)


main()

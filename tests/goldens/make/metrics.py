# SPDX-License-Identifier: Apache-2.0
"""Retrieval metrics in float64: stable-tie and expected (over random order of ties) mAP, P@k, R@k, by-radius curves.

Codes are +1/-1 arrays; labels are class numbers (1-D) or 0/1 matrices (2-D); k=None means the whole database.
"""
import numpy as np
from math import lgamma


def dist_row(q, db):
    return ((db.shape[1] - db @ q) / 2).round().astype(np.int64)


def rel_row(lq, ldb):
    if np.ndim(lq) == 0:
        return ldb == lq
    return (ldb.astype(np.float32) @ lq.astype(np.float32)) > 0


def rows(bq, lq, bd, ld):
    bd = np.ascontiguousarray(bd, dtype=np.float32)
    for i in range(len(bq)):
        yield dist_row(bq[i].astype(np.float32), bd), rel_row(lq[i], ld)


def ap_of_ranked(g):
    hits = np.flatnonzero(g)
    return 0.0 if hits.size == 0 else float(np.mean(np.arange(1, hits.size + 1) / (hits + 1.0)))


def map_stable(bq, lq, bd, ld, k):
    """Ties by database index; AP divides by the relevant items inside the top k; a query with none counts 0."""
    s = [ap_of_ranked(rel[np.argsort(d, kind="stable")][:k]) for d, rel in rows(bq, lq, bd, ld)]
    return float(np.mean(s))


def groups(d, rel, bits):
    return np.bincount(d, minlength=bits + 1), np.bincount(d[rel], minlength=bits + 1)


def group_sum(n, r, N, R):
    """Expected sum of precision-at-hit over a uniformly shuffled group of n items, r relevant, after N items, R relevant."""
    t = np.arange(1, n + 1, dtype=np.float64)
    inner = (t - 1) * ((r - 1) / (n - 1)) if n > 1 else 0.0 * t
    return float(np.sum((r / n) * (R + 1 + inner) / (N + t)))


def log_choose(a, b):
    return lgamma(a + 1) - lgamma(b + 1) - lgamma(a - b + 1)


def ap_expected(n_d, r_d, k):
    k = int(n_d.sum()) if k is None else min(k, int(n_d.sum()))
    N = R = 0
    tot = 0.0
    for n, r in zip(n_d.tolist(), r_d.tolist()):
        if n == 0:
            continue
        if N + n <= k:
            if r:
                tot += group_sum(n, r, N, R)
            N, R = N + n, R + r
            if N == k:
                break
            continue
        q = k - N                                          # the cut falls inside this group
        e = 0.0
        for m in range(max(0, q - (n - r)), min(q, r) + 1):  # m relevant ones fall above the cut
            p = np.exp(log_choose(r, m) + log_choose(n - r, q - m) - log_choose(n, q))
            s = tot + (group_sum(q, m, N, R) if m else 0.0)
            if R + m:
                e += p * s / (R + m)
        return e
    return tot / R if R else 0.0


def map_expected(bq, lq, bd, ld, k):
    b = bd.shape[1]
    return float(np.mean([ap_expected(*groups(d, rel, b), k) for d, rel in rows(bq, lq, bd, ld)]))


def ap_random(d, rel, k, rng):
    o = np.lexsort((rng.random(d.size), d))
    return ap_of_ranked(rel[o][:k])

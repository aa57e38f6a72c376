# SPDX-License-Identifier: Apache-2.0
"""Fashion-MNIST as a hashing benchmark: 70,000 images, per class 100 query / 500 train / the rest database."""
import gzip
import os

import numpy as np

DIR = "/usr/share/datasets/fashion-mnist"


def idx(path):
    raw = gzip.open(path).read()
    nd = raw[3]
    shape = [int.from_bytes(raw[4 + 4 * i:8 + 4 * i], "big") for i in range(nd)]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * nd).reshape(shape)


def load(d=DIR):
    """images (70000,28,28) uint8 and labels: the 60,000 of train-* first, then the 10,000 of t10k-*."""
    X = np.concatenate([idx(os.path.join(d, f"{s}-images-idx3-ubyte.gz")) for s in ("train", "t10k")])
    L = np.concatenate([idx(os.path.join(d, f"{s}-labels-idx1-ubyte.gz")) for s in ("train", "t10k")])
    return X, L


def split(L, seed=0, query=100, train=500):
    """uint32 indices into the 70,000: query, train, database, class after class as the reference's CIFAR split does."""
    rng = np.random.default_rng(seed)
    q, t, d = [], [], []
    for c in range(10):
        i = rng.permutation(np.where(L == c)[0])
        q.append(i[:query])
        t.append(i[query:query + train])
        d.append(np.sort(i[query + train:]))
    return [np.concatenate(a).astype(np.uint32) for a in (q, t, d)]


def tensorize(X):
    """(N,28,28) uint8 -> (N,1,32,32) float32: 2 zero pixels on every side, then (v/255 - 0.2860)/0.3530."""
    P = np.zeros((X.shape[0], 1, 32, 32), np.float32)
    P[:, 0, 2:30, 2:30] = X.astype(np.float32) / 255.0
    return (P - np.float32(0.2860)) / np.float32(0.3530)

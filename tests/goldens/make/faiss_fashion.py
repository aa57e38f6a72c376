# SPDX-License-Identifier: Apache-2.0
"""Non-deep baselines on the same split: LSH and ITQ on pixels.  usage: faiss_fashion.py OUT.json [bits]"""
import sys
import time

import faiss
import numpy as np

import fashion_data as fd
import hh_common as hh
import metrics as mt


def signs(packed, bits):
    return np.unpackbits(packed, axis=1, bitorder="little")[:, :bits].astype(np.int8) * 2 - 1


def main():
    out, bits = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 32
    faiss.omp_set_num_threads(2)
    X, L = fd.load()
    q, tr, db = fd.split(L, 0)
    F = X.reshape(len(X), -1).astype(np.float32) / 255.0
    J = {"faiss": faiss.__version__, "bits": bits}
    mu = F[tr].mean(0)
    F = F - mu
    for name, fac in (("LSH", lambda: faiss.IndexLSH(784, bits, True, True)), ("ITQ", None)):
        t = time.time()
        if fac:
            ix = fac()
            ix.train(F[tr])
            bq, bd = ix.sa_encode(F[q]), ix.sa_encode(F[db])
        else:
            # PCA to `bits`, then the ITQ rotation, sign
            itq = faiss.ITQTransform(784, bits, True)
            itq.train(F[tr])
            enc = lambda A: np.packbits(itq.apply(A) > 0, axis=1, bitorder="little")
            bq, bd = enc(F[q]), enc(F[db])
        dt = time.time() - t
        bq, bd = signs(bq, bits), signs(bd, bits)
        J[name] = dict(seconds_train_encode=dt, map_all_stable=mt.map_stable(bq, L[q], bd, L[db], None),
                       map_all_expected=mt.map_expected(bq, L[q], bd, L[db], None), map_1000_expected=mt.map_expected(bq, L[q], bd, L[db], 1000))
        print(name, J[name], flush=True)
    # the real-valued pixels themselves, by Euclidean distance
    t = time.time()
    s = []
    D = F[db]
    n2 = (D * D).sum(1)
    for i in range(0, 1000, 10):
        d = n2 - 2 * D @ F[q[i]]
        s.append(mt.ap_of_ranked((L[db] == L[q[i]])[np.argsort(d, kind="stable")]))
    J["pixels_L2_first_of_every_10_queries_map_all"] = float(np.mean(s))
    print(J)
    hh.save_json(out, J)


main()

# SPDX-License-Identifier: Apache-2.0
"""Full-size goldens: the authors' network untouched at 224 px, dims 128/256/512, depths 2/2/15.
usage: make_full_golden.py REF_DIR OUT_DIR PREFIX SEED BITS[,BITS...] [BATCH]"""
import os
import sys

import numpy as np
import torch
from safetensors.torch import save_file

import hh_common as hh


def main():
    ref, outdir, prefix, seed, bits = sys.argv[1:6]
    seed, batch = int(seed), int(sys.argv[6]) if len(sys.argv) > 6 else 2
    torch.set_num_threads(2)
    model_mod, loss_mod, _ = hh.load_reference(ref)
    T, J = {}, {"seed": seed, "batch": batch, "f32_error": {}, "samples": {}, "code_f64": {}, "logits_f64": {}}
    x0 = torch.from_numpy(hh.gen_input((batch, 3, 224, 224), seed))
    J["samples"]["input"] = x0.reshape(-1)[:8].tolist()
    for b in map(int, bits.split(",")):
        cfg = dict(n_class=100, patch_size=4, img_size=224, in_chans=3, bit=b)
        net = model_mod.HybridHash(cfg, num_levels=3, embed_dims=(128, 256, 512), num_heads=(4, 8, 16), depths=(2, 2, 15)).eval()
        hh.fill(net, seed)
        for k in ("patch_embed.proj.weight", "patch_embed.proj.bias", "levels.0.pos_embed", "levels.0.transformer_encoder.0.norm1.weight",
                  "levels.2.transformer_encoder.14.mlp.fc2.weight", "levels.1.pool.global_attention.pos_embed_glo",
                  "hashlayer_train.convS1.weight", "hashlayer_train.conv2.weight"):
            J["samples"][f"bits{b}:{k}"] = net.state_dict()[k].reshape(-1)[:8].tolist()
        with open(os.path.join(outdir, f"{prefix}_state_dict_{b}bits.txt"), "w") as f:
            grad_names = {n for n, _ in net.named_parameters()}
            for k, v in net.state_dict().items():
                f.write(f"{k}\t{list(v.shape)}\t{v.numel()}\n")
                assert k in grad_names
            f.write(f"TOTAL\t\t{sum(v.numel() for v in net.state_dict().values())}\n")
        rng = np.random.default_rng(seed)
        U = torch.from_numpy(np.tanh(rng.normal(size=(20, b))).astype(np.float32))
        Y = torch.from_numpy(np.eye(100, dtype=np.float32)[rng.integers(0, 5, 20)])
        y = torch.from_numpy(np.eye(100, dtype=np.float32)[rng.integers(0, 5, batch)])
        ind = torch.arange(batch)
        res = {}
        for dt in (torch.float32, torch.float64):
            n = net.to(dt)
            n.zero_grad(set_to_none=True)
            rec = hh.Recorder(n, inner=False)
            x = x0.to(dt).clone().requires_grad_(True)
            u = n(x)
            st = rec.close()
            crit = hh.Wml64(U, Y) if dt == torch.float64 else hh.ref_loss32(loss_mod, U, Y, None)
            loss = crit(u, y, ind, dict(alpha=0.5))
            loss.backward()
            g = {k: p.grad.clone() for k, p in n.named_parameters() if p.grad is not None}
            g["input"] = x.grad.clone()
            res[dt] = (st, float(loss.detach()), g)
        s32, l32, g32 = res[torch.float32]
        s64, l64, g64 = res[torch.float64]
        J[f"loss_f64_bits{b}"], J[f"loss_f32_bits{b}"] = l64, l32
        J["code_f64"][b], J["logits_f64"][b] = s64["code"].tolist(), s64["hash.logits"].tolist()
        T.update({f"bits{b}.bank_U": U, f"bits{b}.bank_Y": Y, f"bits{b}.y": y, f"bits{b}.ind": ind,
                  f"bits{b}.code": s64["code"], f"bits{b}.logits": s64["hash.logits"], f"bits{b}.code_f32": s32["code"]})
        for k, v in s64.items():
            J["f32_error"][f"bits{b}.stage.{k}"] = hh.maxerr(s32[k], v)
            for i in range(batch):                     # first and strided samples of each image
                hh.put_sample(T, f"bits{b}.stage.{k}.img{i}", v[i], 64)
        for k, v in g64.items():
            J["f32_error"][f"bits{b}.grad.{k}"] = hh.maxerr(g32[k], v)
            hh.put_sample(T, f"bits{b}.grad.{k}", v, 16)
        print(b, "loss", l64, l32, "code", s64["code"][0, :6].tolist(), "logit absmax", float(s64["hash.logits"].abs().max()), flush=True)
    save_file({k: v.contiguous() for k, v in T.items()}, os.path.join(outdir, prefix + ".safetensors"))
    hh.save_json(os.path.join(outdir, prefix + ".json"), J)


main()

# SPDX-License-Identifier: Apache-2.0
"""Image pipeline goldens (needs torchvision and Pillow).  usage: make_transform_goldens.py OUT_DIR
transform.safetensors: raw RGB inputs, the uint8 result of Resize(256)+CenterCrop(224) and samples of the normalised
tensor; images/*.jpg|png with the RGB bytes Pillow decodes from them."""
import io
import os
import sys

import numpy as np
import PIL
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision import transforms as tf

import hh_common as hh


def picture(h, w, seed):
    """Smooth waves plus a few hard edges and some noise: uint8 h x w x 3."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    a = np.zeros((h, w, 3))
    for c in range(3):
        for _ in range(4):
            fx, fy, ph = rng.uniform(0.01, 0.2), rng.uniform(0.01, 0.2), rng.uniform(0, 6.3)
            a[..., c] += 30 * np.sin(fx * x + fy * y + ph)
        a[..., c] += 128 + 60 * ((x // 17 + y // 23 + c) % 2) - 30 + rng.normal(0, 4, (h, w))
    return np.clip(a, 0, 255).astype(np.uint8)


def main():
    out = sys.argv[1]
    os.makedirs(os.path.join(out, "images"), exist_ok=True)
    T, J = {}, {"pillow": PIL.__version__, "cases": {}, "files": {}}
    norm = [tf.ToTensor(), tf.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    for name, (h, w) in {"land": (187, 250), "port": (333, 250), "square": (256, 256), "small": (60, 80), "odd": (301, 257), "tall": (90, 260)}.items():
        a = picture(h, w, len(name) + h)
        im = Image.fromarray(a)
        u8 = tf.Compose([tf.Resize(256), tf.CenterCrop(224)])(im)
        t = tf.Compose(norm)(u8)
        r = tf.Resize(256)(im)
        T[name + ".rgb"] = torch.from_numpy(a)
        T[name + ".resized_cropped_u8"] = torch.from_numpy(np.asarray(u8).copy())
        hh.put_sample(T, name + ".tensor_chw", t, 256)
        J["cases"][name] = dict(in_hw=[h, w], resized_hw=[r.size[1], r.size[0]])
    cif = picture(32, 32, 3)
    u8 = tf.Resize(224)(Image.fromarray(cif))
    T["cifar.rgb"] = torch.from_numpy(cif)
    T["cifar.resized_u8"] = torch.from_numpy(np.asarray(u8).copy())
    hh.put_sample(T, "cifar.tensor_chw", tf.Compose(norm)(u8), 256)
    a = picture(75, 101, 9)
    for f, im, kw in (("rgb420.jpg", Image.fromarray(a), dict(quality=90)), ("rgb444.jpg", Image.fromarray(a), dict(quality=95, subsampling=0)),
                      ("gray.jpg", Image.fromarray(a[..., 0]), dict(quality=90)), ("progressive.jpg", Image.fromarray(a), dict(quality=85, progressive=True)),
                      ("rgb.png", Image.fromarray(a), {}), ("rgba.png", Image.fromarray(np.dstack([a, a[..., :1]])), {}),
                      ("palette.png", Image.fromarray(a).quantize(64), {})):
        p = os.path.join(out, "images", f)
        im.save(p, **kw)
        T["decoded." + f] = torch.from_numpy(np.asarray(Image.open(p).convert("RGB")).copy())
    save_file({k: v.contiguous() for k, v in T.items()}, os.path.join(out, "transform.safetensors"))
    hh.save_json(os.path.join(out, "transform.json"), J)
    print(J)


main()

# SPDX-License-Identifier: Apache-2.0
"""Pictures in the formats of other libraries, each with what Pillow makes of it (NAME.png beside NAME), and the seeds of
their fuzz targets. Needs pillow, pillow-heif and numpy.  usage: make.py, in this folder"""
import pathlib
import struct

import numpy as np
import pillow_heif
from PIL import Image, ImageOps

pillow_heif.register_heif_opener()
CORPUS = pathlib.Path("../../fuzz/corpus")


def picture(h, w):
    """Waves, an edge and some noise: uint8 [h, w, 3]."""
    rng = np.random.default_rng(h * w)
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    a = [128 + 60 * np.sin(0.2 * x + 0.1 * (c + 1) * y + c) + 40 * ((x > w / 2) ^ (y > h / 3)) for c in range(3)]
    return np.clip(np.stack(a, -1) + rng.normal(0, 4, (h, w, 3)), 0, 255).astype(np.uint8)


def tiff(path, samples, bits, photometric, data, extra=()):
    """An uncompressed TIFF of one strip, for what Pillow doesn't write."""
    h, w = data.shape[:2]
    body = data.tobytes()
    tags = {256: (3, [w]), 257: (3, [h]), 258: (3, [bits] * samples), 259: (3, [1]), 262: (3, [photometric]), 273: (4, [8]),
            277: (3, [samples]), 278: (3, [h]), 279: (4, [len(body)]), **dict(extra)}
    tags = {tag: value for tag, value in tags.items() if value}
    at = 8 + len(body) + len(body) % 2
    entries, tail = b"", b""
    after = at + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        packed = struct.pack("<%d%s" % (len(values), "H" if kind == 3 else "I"), *values)
        if len(packed) > 4:
            entries += struct.pack("<HHII", tag, kind, len(values), after + len(tail))
            tail += packed
        else:
            entries += struct.pack("<HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    path.write_bytes(b"II*\0" + struct.pack("<I", at) + body + b"\0" * (len(body) % 2) +
                     struct.pack("<H", len(tags)) + entries + b"\0" * 4 + tail)


def write_all(h, w, put):
    """put(NAME, write), where write(path) makes the file."""
    a = picture(h, w)
    im, grey = Image.fromarray(a), Image.fromarray(a[..., 0])
    rgba = Image.fromarray(np.dstack([a, a[..., 1]]))
    exif = Image.Exif()
    exif[274] = 6
    small = im.resize((w // 2, h // 2))

    def save(name, image, **how):
        put(name, lambda path: image.save(path, **how))

    save("lossless.webp", im, lossless=True)
    save("alpha.webp", rgba, lossless=True, exact=True)
    save("lossy.webp", im, quality=80)
    save("lossy_alpha.webp", rgba, quality=80)
    save("turned.webp", im, lossless=True, exif=exif)
    save("animated.webp", im, save_all=True, append_images=[im.rotate(180)], lossless=True)
    palette = im.quantize(64)
    save("palette.gif", palette)
    save("grey.gif", grey)
    save("interlaced.gif", palette, interlace=1)
    save("animated.gif", palette, save_all=True, append_images=[im.rotate(180).quantize(16)])
    save("transparent.gif", palette, transparency=3)
    for codec in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        save(f"{codec}.tif", im, compression=codec)
    save("predictor.tif", im, compression="tiff_lzw", tiffinfo={317: 2})
    save("jpeg.tif", im, compression="jpeg", quality=90)
    save("fax4.tif", grey.convert("1"), compression="group4")
    save("grey.tif", grey)
    save("palette.tif", palette)
    save("rgba.tif", rgba, compression="tiff_lzw")
    save("cmyk.tif", im.convert("CMYK"))
    save("turned.tif", im, tiffinfo={274: 6})
    save("pages.tif", im, save_all=True, append_images=[small])
    wide = a.astype(np.uint16) * 256 + a[::-1]
    put("rgb16.tif", lambda p: tiff(p, 3, 16, 2, wide))
    put("white_is_zero.tif", lambda p: tiff(p, 1, 8, 0, a[..., 0].copy()))
    put("planes.tif", lambda p: planes(p, a))
    put("tiles.tif", lambda p: tiles(p, a))
    save("photo.heic", im, quality=90)
    save("full_chroma.heic", im, quality=90, chroma=444)
    save("turned.heic", im, quality=90, chroma=444, exif=exif)
    save("photo.avif", im, quality=90, subsampling="4:2:0")
    save("full_chroma.avif", im, quality=90, subsampling="4:4:4")


def planes(path, a):
    h, w = a.shape[:2]
    size = h * w
    tiff(path, 3, 8, 2, np.ascontiguousarray(a.transpose(2, 0, 1)).reshape(3 * h, w),
         {257: (3, [h]), 273: (4, [8 + i * size for i in range(3)]), 278: (3, [h]), 279: (4, [size] * 3),
          284: (3, [2])}.items())


def tiles(path, a):
    h, w = a.shape[:2]
    rows, columns = -(-h // 16), -(-w // 16)
    padded = np.zeros((rows * 16, columns * 16, 3), np.uint8)
    padded[:h, :w] = a
    blocks = padded.reshape(rows, 16, columns, 16, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 16, 3)
    count = rows * columns
    tiff(path, 3, 8, 2, np.ascontiguousarray(blocks),
         {256: (3, [w]), 257: (3, [h]), 273: None, 278: None, 279: None, 322: (3, [16]), 323: (3, [16]), 324: (4, [8 + i * 768 for i in range(count)]),
          325: (4, [768] * count)}.items())


def with_result(name, write):
    path = pathlib.Path(name)
    write(path)
    image = Image.open(path)
    turned = "turned" in name
    image = ImageOps.exif_transpose(image) if turned else image
    image.convert("RGB").save(name + ".png", optimize=True)


def seed(name, write):
    ending = name.rsplit(".", 1)[1]
    folder = CORPUS / {"tif": "tiff", "heic": "heif", "avif": "heif"}.get(ending, ending)
    folder.mkdir(exist_ok=True)
    write(folder / name)


write_all(29, 37, with_result)
write_all(9, 11, seed)

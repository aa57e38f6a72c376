#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Image files to the network's 224 x 224 pixels: images/s of one thread, ours beside Pillow, Pillow-SIMD, torchvision and OpenCV.

    bench/data/compare.py --bench build/cpu/bin/hh_data_bench --peer pillow=PYTHON --peer torchvision=PYTHON ...

Each peer is measured by a Python that has it (pillow-simd takes Pillow's place, so it needs one of its own). All sides decode
the same files from memory, resize the shorter side to 256 and cut the centre, 8 bits a channel; they are asked in turns, in
processes of their own. Time is the process's processor time, so that a busy machine shows little.
"""
import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

SIZES = ((500, 375), (1600, 1200))
PICTURES = 8  # of each size, so that no side lives off one picture in the cache
SECONDS = 0.5  # of processor time, for a figure
SHORTER, CROP = 256, 224


def make_pictures(folder):
    """JPEGs of soft hills of colour, edges and grain, as photographs have them."""
    import numpy as np
    from PIL import Image
    files = {}
    for width, height in SIZES:
        for number in range(PICTURES):
            random = np.random.default_rng(number)
            coarse = random.integers(0, 256, (8, 10, 3), dtype=np.uint8)
            hills = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
            y, x = np.mgrid[0:height, 0:width]
            edges = np.zeros((height, width), dtype=np.float32)
            for _ in range(12):
                a, b = random.normal(size=2)
                edges += 12 * np.sign(a * (x - random.uniform(0, width)) + b * (y - random.uniform(0, height)))
            grain = random.normal(0, 6, (height, width, 1))
            pixels = np.clip(0.6 * hills + 50 + edges[..., None] + grain, 0, 255).astype(np.uint8)
            path = os.path.join(folder, f"{width}x{height}_{number}.jpg")
            Image.fromarray(pixels).save(path, quality=90)
            files.setdefault(f"{width}x{height}", []).append(path)
    return files


def crop_of(width, height):
    """The resized sizes and the corner of the centre, as torchvision."""
    if height <= width:
        size = (int(SHORTER * width / height), SHORTER)
    else:
        size = (SHORTER, int(SHORTER * height / width))
    return size, round((size[0] - CROP) / 2), round((size[1] - CROP) / 2)


def pillow_steps():
    import PIL
    from PIL import Image

    def decode(data):
        return Image.open(io.BytesIO(data)).convert("RGB")

    def transform(image):
        size, left, top = crop_of(*image.size)
        return image.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + CROP, top + CROP)).tobytes()

    def scaled(data):
        image = Image.open(io.BytesIO(data))
        image.draft("RGB", (SHORTER, SHORTER))
        return transform(image.convert("RGB"))

    return PIL.__version__, {"decode": decode, "decode and transform": lambda data: transform(decode(data)), "scaled": scaled}


def torchvision_steps():
    import torch
    import torchvision
    from torchvision.io import ImageReadMode, decode_jpeg
    from torchvision.transforms.v2 import functional as F
    torch.set_num_threads(1)

    def decode(data):
        return decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB)

    def transform(image):
        return F.center_crop(F.resize(image, [SHORTER], antialias=True), [CROP, CROP]).contiguous()

    return torchvision.__version__, {"decode": decode, "decode and transform": lambda data: transform(decode(data))}


def opencv_steps():
    import cv2
    import numpy as np
    cv2.setNumThreads(1)

    def decode(data):
        return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    def transform(image):
        size, left, top = crop_of(image.shape[1], image.shape[0])
        # INTER_AREA: of OpenCV's filters the one that averages where it reduces, as the others here do.
        return np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA)[top:top + CROP, left:left + CROP])

    def scaled(data):
        flag = cv2.IMREAD_REDUCED_COLOR_4 if len(data) > 200_000 else cv2.IMREAD_COLOR
        return transform(cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), flag), cv2.COLOR_BGR2RGB))

    return cv2.__version__, {"decode": decode, "decode and transform": lambda data: transform(decode(data)), "scaled": scaled}


STEPS = {"pillow": pillow_steps, "pillow-simd": pillow_steps, "torchvision": torchvision_steps, "opencv": opencv_steps}


def work(peer, paths):
    """Of a peer's own Python: prints its version and images/s of each step."""
    version, steps = STEPS[peer]()
    files = [open(path, "rb").read() for path in paths]
    figures = {}
    for name, step in steps.items():
        for data in files:
            step(data)
        start, images = time.process_time(), 0
        while time.process_time() - start < SECONDS:
            for data in files:
                step(data)
            images += len(files)
        figures[name] = images / (time.process_time() - start)
    print(json.dumps({"version": version, "figures": figures}))


def ask(command):
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def compare(args):
    peers = dict(peer.split("=", 1) for peer in args.peer)
    unknown = set(peers) - set(STEPS)
    if unknown:
        sys.exit(f"peer {', '.join(sorted(unknown))}: there are {', '.join(STEPS)}")
    with tempfile.TemporaryDirectory() as folder:
        files = make_pictures(folder)
        figures, versions = {}, {}
        for _ in range(args.rounds):
            for size, paths in files.items():
                commands = {"ours": [args.bench, *paths]}
                for peer, python in peers.items():
                    commands[peer] = [python, __file__, "--worker", peer, *paths]
                for side, command in commands.items():
                    answer = ask(command)
                    versions[side] = answer["version"]
                    for step, value in answer["figures"].items():
                        figures.setdefault((size, step), {}).setdefault(side, []).append(value)
        kilobytes = {size: statistics.mean(os.path.getsize(path) for path in paths) / 1000 for size, paths in files.items()}
    sides = ["ours", *peers]
    print("load " + open("/proc/loadavg").read().split(" ")[0] + "; median images/s (least to most), and ours / theirs")
    print("| source | step | " + " | ".join(f"{side} {versions[side]}".strip() for side in sides) + " |")
    print("|---|---|" + "---|" * len(sides))
    for (size, step), by_side in figures.items():
        ours = statistics.median(by_side["ours"]) if "ours" in by_side else None
        cells = []
        for side in sides:
            values = by_side.get(side)
            if not values:
                cells.append("")
                continue
            middle = statistics.median(values)
            ratio = "" if side == "ours" or ours is None else f", {ours / middle:.2f} x"
            cells.append(f"{middle:.0f} ({min(values):.0f} to {max(values):.0f}){ratio}")
        print(f"| {size}, {kilobytes[size]:.0f} kB | {step} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", default="build/cpu/bin/hh_data_bench")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON", help=f"one of {', '.join(STEPS)}, and a Python that has it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(args.worker[0], args.worker[1:])
    return compare(args)


if __name__ == "__main__":
    main()

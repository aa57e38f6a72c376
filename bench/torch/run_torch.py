# SPDX-License-Identifier: Apache-2.0
"""One PyTorch measurement in a process of its own: run_torch.py PRESET MODE BATCH THREADS SECONDS COMPILE
prints one JSON line, in the terms of `hybridhash bench --json`."""
import json
import resource
import sys
import time

import torch
from hybridhash_torch import PRESETS, HybridHash, wml_loss

CLASSES, BANK_ROWS = 10, 5000


def main():
    preset, mode, batch, threads, seconds, compiled = sys.argv[1:7]
    batch, seconds = int(batch), float(seconds)
    torch.set_num_threads(int(threads))
    torch.manual_seed(1)
    bits = 32
    net = HybridHash(preset, bits)
    for name, p in net.named_parameters():
        if p.dim() > 1 and "pos_embed_glo" not in name:
            torch.nn.init.trunc_normal_(p, std=0.02)
    model = torch.compile(net) if compiled == "1" else net
    size, channels = PRESETS[preset]["size"], PRESETS[preset]["in_chans"]
    x = torch.randn(batch, channels, size, size)

    if mode == "train":
        net.train()
        optimizer = torch.optim.RMSprop(net.parameters(), lr=2.5e-5, weight_decay=1e-5)
        y = torch.eye(CLASSES)[torch.arange(batch) % CLASSES]
        index = torch.arange(batch)
        bank, bank_labels = torch.zeros(BANK_ROWS, bits), torch.zeros(BANK_ROWS, CLASSES)

        def step():
            optimizer.zero_grad()
            wml_loss(model(x), y, index, bank, bank_labels, 0.5).backward()
            optimizer.step()
    else:
        net.eval()

        def step():
            with torch.inference_mode():
                model(x)

    step()
    step()
    times, start = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        step()
        times.append(time.perf_counter() - before)
    times.sort()
    median, best = times[len(times) // 2], times[0]
    print(json.dumps(dict(config=preset, mode=mode, batch=batch, steps=len(times), median_s=median, min_s=best,
                          images_per_s=batch / median, best_images_per_s=batch / best,
                          peak_rss_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)))


if __name__ == "__main__":
    main()

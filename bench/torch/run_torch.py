# SPDX-License-Identifier: Apache-2.0
"""One PyTorch measurement in a process of its own: run_torch.py PRESET MODE BATCH THREADS SECONDS COMPILE
prints one JSON line, in the terms of `hybridhash bench --json`."""
import json
import resource
import sys
import time

import torch
from hybridhash_torch import PRESETS, HybridHash, initialise, training_step


def main():
    preset, mode, batch, threads, seconds, compiled = sys.argv[1:7]
    batch, seconds = int(batch), float(seconds)
    torch.set_num_threads(int(threads))
    torch.manual_seed(1)
    net = HybridHash(preset, 32)
    initialise(net)
    model = torch.compile(net) if compiled == "1" else net
    size, channels = PRESETS[preset]["size"], PRESETS[preset]["in_chans"]
    x = torch.randn(batch, channels, size, size)

    if mode == "train":
        step = training_step(net, model, x)
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

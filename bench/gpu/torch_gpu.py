# SPDX-License-Identifier: Apache-2.0
"""PyTorch on the same network on a GPU: torch_gpu.py PRESET BATCH SECONDS CONFIG... [--out FILE]
CONFIG is eager, sdpa (PyTorch's fused attention) or compile (sdpa in torch.compile), for training, or one of them with
-encode. Autocast to bf16, channels last, float32 weights, RMSprop(foreach), as `hybridhash bench --dtype bf16` has them;
a line of JSON each. --ready and --wait: all is compiled and warmed up, then the file READY is made and WAIT awaited, so
that the slow part may run beside other work and the timing alone."""
import argparse
import json
import signal
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "torch"))
import hybridhash_torch  # noqa: E402
from hybridhash_torch import PRESETS, HybridHash, initialise, training_step  # noqa: E402

PLAIN = hybridhash_torch.attend


def fused(qkv, heads):
    """attend() by PyTorch's fused attention."""
    *rest, n, c3 = qkv.shape
    q, k, v = qkv.reshape(-1, n, 3, heads, c3 // 3 // heads).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v).permute(0, 2, 3, 1).reshape(*rest, n, c3 // 3)


def prepare(a, name, device):
    """A call that does one step of the configuration, after three that warm it up."""
    way, encode = name.removesuffix("-encode"), name.endswith("-encode")
    hybridhash_torch.attend = PLAIN if way == "eager" else fused
    c = PRESETS[a.preset]
    x = torch.randn(a.batch, c["in_chans"], c["size"], c["size"], device=device).to(memory_format=torch.channels_last)
    net = HybridHash(a.preset, 32).to(device).to(memory_format=torch.channels_last)
    initialise(net)
    model = torch.compile(net) if way == "compile" else net

    def forward(images):
        with torch.autocast(device.type, torch.bfloat16):
            return model(images)
    if encode:
        net.eval()

        def step():
            with torch.inference_mode():
                forward(x)
    else:
        step = training_step(net, lambda images: forward(images).float(), x, foreach=True)
    for _ in range(3):
        step()
    return step


def measure(step, seconds, synchronize):
    """Seconds of a step: of groups of five, the median and the least."""
    times = []
    step()
    synchronize()
    start = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        for _ in range(5):
            step()
        synchronize()
        times.append((time.perf_counter() - before) / 5)
    times.sort()
    return times[len(times) // 2], times[0]


def say(out, **line):
    print(json.dumps(line), flush=True)
    if out:
        with open(out, "a") as f:
            f.write(json.dumps(line) + "\n")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("preset")
    p.add_argument("batch", type=int)
    p.add_argument("seconds", type=float)
    p.add_argument("configs", nargs="+")
    p.add_argument("--device", default="cuda")
    p.add_argument("--ready")
    p.add_argument("--wait")
    p.add_argument("--ready-within", type=int, default=0, help="seconds, after which the process ends by SIGALRM")
    p.add_argument("--out")
    a = p.parse_intermixed_args()
    unknown = [name for name in a.configs if name.removesuffix("-encode") not in ("eager", "sdpa", "compile")]
    if unknown:
        p.error(f"{unknown[0]}: must be eager, sdpa or compile, and may end with -encode")
    device = torch.device(a.device)
    synchronize = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    torch.manual_seed(1)
    signal.alarm(a.ready_within)  # 0: none. No handler in Python: compilers may wait outside of it
    ready = []
    for name in a.configs:
        start = time.monotonic()
        try:
            step = prepare(a, name, device)
            synchronize()
            ready.append((name, step, time.monotonic() - start))
        except Exception as e:  # one that fails must not lose the others
            say(a.out, config=name, error=str(e)[:300])
    signal.alarm(0)
    if a.ready:
        Path(a.ready).touch()
    while a.wait and not Path(a.wait).exists():
        time.sleep(0.05)
    for name, step, warm_up in ready:
        hybridhash_torch.attend = PLAIN if name.startswith("eager") else fused
        median, best = measure(step, a.seconds, synchronize)
        say(a.out, config=name, torch=torch.__version__, preset=a.preset, batch=a.batch, median_s=median, min_s=best,
            images_per_s=a.batch / median, best_images_per_s=a.batch / best, warm_up_s=warm_up)


if __name__ == "__main__":
    main()

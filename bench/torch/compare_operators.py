# SPDX-License-Identifier: Apache-2.0
"""HybridHash three ways: the program, PyTorch with hybridhash.torch's operators, plain PyTorch; the latter two eager and by
torch.compile. compare_operators.py PROGRAM [--preset micro|paper] [--rounds N]. One thread, images per second of CPU time,
which other programs on the machine change less than seconds of the clock; all take turns. Needs the Python package
(pip install .) and PyTorch."""
import argparse
import os
import resource
import subprocess
import time

import hybridhash.torch as hht
import torch
from hybridhash_torch import PRESETS, HybridHash, training_step

# preset: (batch, steps a turn) of encoding and of training
SIZES = {"micro": {"encode": (64, 8), "train": (64, 4)}, "paper": {"encode": (4, 2), "train": (2, 1)}}
BITS = 32


def program_seconds(program, preset, mode, batch, steps):
    """CPU seconds of so many steps; a run of one step is taken off."""
    def seconds(count):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        subprocess.run([program, "bench", "--config", preset, "--mode", mode, "--batch", str(batch), "--bits", str(BITS),
                        "--threads", "1", "--device", "cpu", "--steps", str(count)], check=True, capture_output=True)
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before

    return seconds(steps + 1) - seconds(1)


def operator_step(net, forward, x, classes=10, bank_rows=5000):
    """training_step() of hybridhash_torch.py, with the loss as an operator."""
    net.train()
    optimizer = torch.optim.RMSprop(net.parameters(), lr=2.5e-5, weight_decay=1e-5)
    labels = hht.pack_bits(torch.eye(classes)[torch.arange(len(x)) % classes] > 0)
    index = torch.arange(len(x))
    bank, bank_labels = torch.zeros(bank_rows, BITS), torch.zeros(bank_rows, 1, dtype=torch.int64)

    def step():
        optimizer.zero_grad()
        u = forward(x)
        bank[index], bank_labels[index] = u.detach(), labels
        hht.wml_loss(u, labels, bank, bank_labels).backward()
        optimizer.step()
    return step


def encode_step(net, forward, x):
    net.eval()

    def step():
        with torch.inference_mode():
            forward(x)
    return step


def steps_of(preset, mode, batch):
    """Functions that do a step, by what computes it. All nets have the same weights."""
    c = PRESETS[preset]
    ours = hht.HybridHash(c["size"], 2 if preset == "micro" else 4, c["in_chans"], c["dims"], c["heads"], c["depths"], BITS,
                          drop_path=0.0)
    found, outputs = {}, []
    x = torch.randn(batch, c["in_chans"], c["size"], c["size"])
    for name, compiled in (("operators", False), ("operators, compiled", True), ("plain", False), ("plain, compiled", True)):
        net = hht.HybridHash(*ours.config.__dict__.values()) if name.startswith("operators") else HybridHash(preset, BITS)
        net.load_state_dict(ours.state_dict())
        forward = torch.compile(net, fullgraph=True) if compiled else net
        with torch.no_grad():
            outputs.append(net.eval()(x))
        if mode == "encode":
            found[name] = encode_step(net, forward, x)
        else:
            found[name] = (operator_step if name.startswith("operators") else training_step)(net, forward, x)
        for _ in range(2):
            found[name]()
    assert all((one - outputs[0]).abs().max() < 1e-5 for one in outputs)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("--preset", choices=SIZES, action="append")
    parser.add_argument("--mode", choices=("encode", "train"), action="append")
    parser.add_argument("--rounds", type=int, default=3)
    o = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    for preset in o.preset or SIZES:
        for mode in o.mode or ("encode", "train"):
            batch, steps = SIZES[preset][mode]
            others, least = steps_of(preset, mode, batch), {}
            for _ in range(o.rounds):
                least["ours"] = min(least.get("ours", 1e9), program_seconds(o.program, preset, mode, batch, steps))
                for name, step in others.items():
                    start = time.process_time()
                    for _ in range(steps):
                        step()
                    least[name] = min(least.get(name, 1e9), time.process_time() - start)
            print(f"{preset}, {mode}, batch {batch}, images per CPU second: " +
                  "; ".join(f"{name} {steps * batch / seconds:.4g}" for name, seconds in least.items()) +
                  f" (load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores)", flush=True)


if __name__ == "__main__":
    main()

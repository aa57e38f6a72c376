#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A list of images to codes on a Ray cluster, a task a shard, then one code file.

    ray_encode.py --model M --list L --shards 1000 --parts PARTS/ --out all.codes [--gpus 1] [-- OPTIONS of hybridhash encode]

Model, list, images and PARTS/ lie on a disk that all machines see. Ray repeats a task whose worker or machine died; a task
whose program ended with 75 (worth another try) or by a signal is repeated too, and any other error ends the work. A shard
that is there already ends at once.
"""
import argparse
import os
import subprocess

import ray

TRY_AGAIN = 75


class TryAgain(Exception):
    """The program says, or its death, that another try may go well."""


def encode(shard, shards, options):
    # setpriv: a worker that is killed takes the program that it started along.
    command = ["setpriv", "--pdeathsig", "TERM", options.program, "encode", "--model", options.model, "--list", options.list, "--shard", f"{shard}/{shards}",
               "--out", options.parts.rstrip("/") + "/", "--json", *options.rest]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == TRY_AGAIN or done.returncode < 0 or done.returncode > 128:
        raise TryAgain(f"shard {shard}: status {done.returncode}: {done.stderr.strip()}")
    if done.returncode != 0:
        raise RuntimeError(f"shard {shard}: {done.stderr.strip()}")
    return done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "list", "parts", "out"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--shards", type=int, required=True)
    parser.add_argument("--program", default="hybridhash")
    parser.add_argument("--cpus", type=float, default=1, help="of a task")
    parser.add_argument("--gpus", type=float, default=0, help="of a task")
    parser.add_argument("rest", nargs="*", help="options of hybridhash encode, behind --")
    options = parser.parse_args()
    for name in ("model", "list", "parts"):
        setattr(options, name, os.path.abspath(getattr(options, name)))
    if options.gpus == 0:
        options.rest = ["--device", "cpu", "--threads", str(max(1, int(options.cpus))), *options.rest]

    ray.init()  # RAY_ADDRESS says which cluster; without it one is started here
    task = ray.remote(num_cpus=options.cpus, num_gpus=options.gpus, max_retries=3, retry_exceptions=[TryAgain])(encode)
    left = [task.remote(shard, options.shards, options) for shard in range(options.shards)]
    while left:
        done, left = ray.wait(left)
        print(ray.get(done[0]), end="", flush=True)
    ray.shutdown()
    subprocess.run([options.program, "codes", "merge", options.parts, "--out", options.out], check=True)


if __name__ == "__main__":
    main()

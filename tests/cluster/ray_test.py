#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scripts/cluster/ray_encode.py on two workers: ray_test.py PROGRAM. One program and one worker are killed on the way."""
import os
import pathlib
import signal
import subprocess
import sys

import ray

from collection import Collection, lives, parent_of

collection = Collection(sys.argv[1])
script = pathlib.Path(__file__).resolve().parents[2] / "scripts/cluster/ray_encode.py"
slow = collection.slow_program(["--shard 2/8", "--shard 5/8"])
out, parts = collection.folder / "all.codes", collection.folder / "parts"
words = [sys.executable, str(script), "--program", slow, "--model", collection.model, "--list", collection.list, "--shards", "8",
         "--parts", str(parts), "--out", str(out)]
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error",
         _temp_dir=str(collection.folder / "ray"))
environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
running = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
os.kill(collection.caught(0), signal.SIGKILL)
program = collection.caught(1)
os.kill(parent_of(program), signal.SIGKILL)
text = running.communicate(timeout=300)[0]
assert running.returncode == 0, text
assert out.read_bytes() == collection.single, "the parts aren't the single run"
assert not lives(program), "the killed worker's program lives on"

# Again: every part is there. Another list: refused, and not tried again and again.
again = subprocess.run(words, env=environment, capture_output=True, text=True)
assert again.returncode == 0 and again.stdout.count('"already_there":true') == 8, again.stdout + again.stderr
with open(collection.list, "a") as file:
    file.write("one more\n")
other = subprocess.run(words, env=environment, capture_output=True, text=True)
assert other.returncode != 0 and "it is of another list" in other.stderr, other.stderr
ray.shutdown()
print("8 shards on 2 workers of Ray, a program and a worker killed: the single run's bytes")

# SPDX-License-Identifier: Apache-2.0
"""For the tests of this folder: images, a model, their list, and the codes of a single run over it."""
import os
import pathlib
import random
import subprocess
import tempfile
import time

RECIPE = """[data]
protocol = "folder"
path = "{}"
query_per_class = 4
[model]
image_size = 16
patch = 2
dims = [8, 16, 16]
heads = [1, 2, 2]
depths = [1, 1, 1]
bits = 16
[train]
seed = 3
epochs = 1
batch = 20
threads = 1
initialisation = "fan_in"
[optimizer]
kind = "adamw"
"""


class Collection:
    def __init__(self, program):
        self.program = os.path.abspath(program)
        self.holder = tempfile.TemporaryDirectory(prefix="hh-cluster-")
        self.folder = pathlib.Path(self.holder.name)
        generator = random.Random(1)
        self.paths = []
        for lit, name in enumerate(("red", "green", "blue")):
            (self.folder / "images" / name).mkdir(parents=True)
            for i in range(40):
                pixels = bytes((140 if p % 3 == lit else 60) + generator.randrange(100) for p in range(16 * 16 * 3))
                path = self.folder / "images" / name / f"{100 + i}.ppm"
                path.write_bytes(b"P6\n16 16\n255\n" + pixels)
                self.paths.append(str(path))
        (self.folder / "tiny.toml").write_text(RECIPE.format(self.folder / "images"))
        self.run("train", self.folder / "tiny.toml", "--out", self.folder / "run")
        self.model = str(self.folder / "run/best.safetensors")
        self.list = str(self.folder / "list.txt")
        pathlib.Path(self.list).write_text("".join(path + "\n" for path in self.paths))
        self.run("encode", "--model", self.model, "--list", self.list, "--out", self.folder / "single.codes", "--threads", "1",
                 "--device", "cpu")
        self.single = (self.folder / "single.codes").read_bytes()

    def run(self, *words):
        subprocess.run([self.program, *map(str, words)], check=True, capture_output=True)

    def codes(self):
        """Hexadecimal, by path: of the lines that the program writes."""
        done = subprocess.run([self.program, "encode", "--model", self.model, "--list", self.list, "--out", "-", "--threads", "1",
                               "--device", "cpu"], check=True, capture_output=True, text=True)
        return {line.split("\t")[2]: line.split("\t")[1] for line in done.stdout.splitlines()}

    def slow_program(self, when):
        """The program, but for the first call whose words hold `when`: that one writes its process to the file
        `caught-N`, N from 0, and waits to be killed."""
        path = self.folder / "slow"
        tests = "".join(f'[[ " $* " == *" {words} "* ]] && mkdir "{self.folder}/once-{i}" 2>/dev/null && '
                        f'{{ echo $$ > "{self.folder}/caught-{i}.tmp"; mv "{self.folder}/caught-{i}.tmp" "{self.folder}/caught-{i}"; '
                        f"exec sleep 100; }}\n" for i, words in enumerate(when))
        path.write_text(f"#!/bin/bash\n{tests}exec '{self.program}' \"$@\"\n")
        path.chmod(0o755)
        return str(path)

    def caught(self, i, timeout=120):
        """The process of that call, once it waits."""
        path = self.folder / f"caught-{i}"
        for _ in range(10 * timeout):
            if path.exists():
                return int(path.read_text())
            time.sleep(0.1)
        raise TimeoutError(f"nothing called the program as {i}")


def facts_of(process):
    """Of /proc/PROCESS/stat, behind the name: state, parent, ..."""
    return pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()


def parent_of(process):
    return int(facts_of(process)[1])


def lives(process):
    """One that nobody has waited for yet is dead all the same."""
    try:
        return facts_of(process)[0] not in "ZX"
    except FileNotFoundError:
        return False

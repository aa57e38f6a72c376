#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""hybridhash train on several ranks, as users start it: train_test.py PROGRAM [TEST...]. The last line is
"N passed, N failed". With HH_SIMULATOR, the command that runs a program on two simulated GPUs, only the tests of GPUs run."""
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

RECIPE = """[data]
protocol = "folder"
path = "{}"
query_per_class = 4
workers = 1
[model]
image_size = 16
patch = 2
dims = [32, 64, 128]
heads = [1, 2, 4]
depths = [1, 1, 1]
bits = 16
drop_path = 0.1
[train]
seed = 3
epochs = {}
batch = 14
threads = 1
initialisation = "fan_in"
[optimizer]
kind = "adamw"
[schedule]
learning_rate = 1e-3
[evaluate]
every = 2
hold_out = 9
by_query = true
batch = 8
"""
IMAGES = 30  # of each of three classes: 90 - 12 queries - 9 held out = 69 for training, the last batch is of 13
ENVIRONMENT = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
               "OMPI_MCA_mpi_yield_when_idle": "1", "HH_THREADS": "1"}
LIMIT = 300  # seconds that a command may take
EPOCHS = 16  # of runs that are stopped: enough that they aren't done before

program = os.path.abspath(sys.argv[1])
holder = tempfile.TemporaryDirectory(prefix="hh-distributed-")
folder = pathlib.Path(holder.name)


def make_images(place):
    generator = random.Random(1)
    for lit, name in enumerate(("red", "green", "blue")):
        (place / name).mkdir(parents=True)
        for i in range(IMAGES):
            pixels = bytes((120 if p % 3 == lit else 60) + generator.randrange(100) for p in range(16 * 16 * 3))
            (place / name / f"{100 + i}.ppm").write_bytes(b"P6\n16 16\n255\n" + pixels)


def recipe(epochs=4, images="images"):
    path = folder / f"tiny-{images}-{epochs}.toml"
    path.write_text(RECIPE.format(folder / images, epochs))
    return path


def words(ranks, *arguments):
    """The command line of so many ranks; 1: the program by itself."""
    own = [program, "train", *map(str, arguments)]
    return own if ranks == 1 else ["mpirun", "-np", str(ranks), "--oversubscribe", *own]


def run(command, status=0, environment=None):
    """Gives its output, stdout and stderr, once it has ended as it should."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=environment or ENVIRONMENT)
    assert done.returncode == status, f"{command}: exit status {done.returncode}, not {status}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def train(name, ranks, *arguments, epochs=4):
    return run(words(ranks, recipe(epochs), "--out", folder / name, *arguments))


def resume(name, ranks, *arguments):
    return run(words(ranks, "--resume", folder / name, *arguments))


def checkpoint(name):
    return (folder / name / "last.safetensors").read_bytes()


def position(name):
    """(epoch, batch) of the checkpoint."""
    data = checkpoint(name)
    header = json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])
    where = json.loads(header["__metadata__"]["position"])
    return where["epoch"], where["batch"]


def weights(name):
    data = checkpoint(name)
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    values = []
    for tensor, entry in header.items():
        if tensor != "__metadata__" and not tensor.startswith(("optimizer.", "bank.")):
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            values += struct.unpack(f"<{(end - begin) // 4}f", data[begin:end])
    return values


def distance(one, other):
    """Relative l2, of weights."""
    a, b = weights(one), weights(other)
    return (sum((x - y) ** 2 for x, y in zip(a, b)) / sum(x * x for x in a)) ** 0.5


def metrics(name):
    """[epochs] of {column: value}."""
    lines = (folder / name / "metrics.csv").read_text().splitlines()
    return [dict(zip(lines[0].split(","), line.split(","))) for line in lines[1:]]


def processes(launcher):
    """{rank: process} of what an mpirun started."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == launcher:
                of_rank = re.search(rb"OMPI_COMM_WORLD_RANK=(\d+)", (entry / "environ").read_bytes())
                if of_rank:
                    found[int(of_rank[1])] = int(entry.name)
        except OSError:
            continue
    return found


def lives(process):
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def interrupted(name, ranks, rank, number, epochs):
    """Starts a run, sends one rank a signal in its third epoch or later, and gives (exit status, seconds from there to the end
    of all, the ranks' processes)."""
    child = subprocess.Popen(words(ranks, recipe(epochs), "--out", folder / name), env=ENVIRONMENT, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
    end = time.time() + LIMIT
    table = folder / name / "metrics.csv"
    while time.time() < end and not (table.exists() and table.read_text().count("\n") >= 3):
        assert child.poll() is None, child.communicate()[0]
        time.sleep(0.01)
    started = processes(child.pid)
    assert sorted(started) == list(range(ranks)), started
    begin = time.time()
    os.kill(started[rank], number)
    output, _ = child.communicate(timeout=LIMIT)
    while any(lives(process) for process in started.values()) and time.time() < begin + LIMIT:
        time.sleep(0.01)
    return child.returncode, time.time() - begin, output


def test_ranks_agree():
    """1, 2 and 4 ranks train the same network, and a number of ranks the same bytes again."""
    for ranks in (1, 2, 4):
        train(f"n{ranks}", ranks, epochs=1)
    for ranks in (2, 4):
        assert distance("n1", f"n{ranks}") < 1e-4, distance("n1", f"n{ranks}")  # 5 steps of AdamW: rounding grows
        for column, bar in (("loss", 1e-4), ("held_out_map", 2e-2), ("query_map", 2e-2)):
            one, many = (float(metrics(name)[0][column]) for name in ("n1", f"n{ranks}"))
            assert abs(one - many) <= bar * one, (ranks, column, one, many)
        text = train(f"again{ranks}", ranks, epochs=1)
        assert f"{ranks} ranks by Open MPI" in text, text
        assert text.count("epoch   1  loss") == 1, text  # rank 0 alone tells
        assert checkpoint(f"again{ranks}") == checkpoint(f"n{ranks}")
        assert (folder / f"again{ranks}/best.safetensors").read_bytes() == (folder / f"n{ranks}/best.safetensors").read_bytes()
    # Nothing in a run's folder knows how many trained it.
    assert sorted(p.name for p in (folder / "n4").iterdir() if not p.name.startswith("events")) == \
        sorted(p.name for p in (folder / "n1").iterdir() if not p.name.startswith("events"))


def test_resume_on_other_ranks():
    """A run goes on with another number of ranks: 1 to 2, 2 to 1, 4 to 3."""
    for before, after in ((1, 2), (2, 1), (4, 3)):
        name = f"resumed{before}{after}"
        train(name, before, epochs=1)
        shutil.copytree(folder / name, folder / f"{name}same")
        resume(name, after, "--set", "train.epochs=2")
        resume(f"{name}same", before, "--set", "train.epochs=2")
        assert position(name) == (2, 0)
        assert distance(f"{name}same", name) < 1e-4, distance(f"{name}same", name)


def test_stop():
    """SIGTERM to one rank stops all after the same batch; the resumed run's last bytes are those of one never stopped."""
    if not (folder / "whole").exists():
        train("whole", 2, epochs=EPOCHS)
    for rank in (0, 1):
        name = f"stopped{rank}"
        status, _, output = interrupted(name, 2, rank, signal.SIGTERM, epochs=EPOCHS)
        assert status == 143, (status, output)
        assert output.count("continue with: hybridhash train --resume") == 1, output
        assert position(name) < (EPOCHS, 0), position(name)
        resume(name, 2)
        assert checkpoint(name) == checkpoint("whole")


def test_killed():
    """kill -9 of a rank: all are gone within 10 s, and the resumed run ends with the bytes of one never killed."""
    if not (folder / "whole").exists():
        train("whole", 2, epochs=EPOCHS)
    for rank in (0, 1):
        name = f"killed{rank}"
        status, seconds, output = interrupted(name, 2, rank, signal.SIGKILL, epochs=EPOCHS)
        assert status != 0 and seconds <= 10, (status, seconds, output)
        assert position(name) < (EPOCHS, 0)
        resume(name, 2)
        assert checkpoint(name) == checkpoint("whole")


def test_said_once():
    """What is wrong with all ranks alike comes once."""
    for wrong in (["nofile.toml"], ["--resume", "nofolder"], [recipe(1), "--out", folder / "f16", "--set", "train.dtype=f16"]):
        text = run(words(2, *wrong), status=2)
        assert sum(line.startswith("hybridhash: ") for line in text.splitlines()) == 1, text
    assert not (folder / "f16").exists()


def test_folder_of_each_machine():
    """A rank that resumes from a folder of its own, of the same name."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0:
        return print("skipped: another folder, since a second view of the files is root's to make")
    if not (folder / "n2").exists():
        train("n1", 1)
        train("n2", 2)
    text = run(["mpirun", "--oversubscribe", "-np", "1", program, "train", "--resume", folder / "n1", ":", "-np", "1", "unshare", "-m",
                "bash", "-c", f"mount --bind '{folder / 'n2'}' '{folder / 'n1'}' && exec '{program}' train --resume '{folder / 'n1'}'"],
               status=2)
    assert re.search("rank 1 has another file of that name than rank 0 .* in a folder that all machines share", text), text


def test_other_recipe():
    """A rank with another recipe is refused by the key."""
    second = folder / "other.toml"
    second.write_text(recipe(1).read_text().replace("batch = 14", "batch = 12"))
    text = run(["mpirun", "--oversubscribe", "-np", "1", program, "train", recipe(1), "--out", folder / "other", ":",
                "-np", "1", program, "train", second, "--out", folder / "other"], status=2)
    assert "rank 1: another recipe than rank 0's: [train] batch = 12 there and batch = 14 on rank 0" in text, text
    assert text.count("hybridhash: ") == 1, text
    assert not (folder / "other/recipe.toml").exists()
    text = run(["mpirun", "--oversubscribe", "-np", "1", program, "train", recipe(1), "--out", folder / "other", ":",
                "-np", "1", program, "train", recipe(1), "--out", folder / "other2"], status=2)
    assert f"rank 1: --out {folder}/other2, and rank 0 has --out {folder}/other: give all ranks the same" in text, text
    assert text.count("hybridhash: ") == 1, text
    text = run(["mpirun", "--oversubscribe", "-np", "1", program, "train", recipe(1), "--out", folder / "other", "--device", "auto", ":",
                "-np", "1", program, "train", recipe(1), "--out", folder / "other", "--device", "cpu"], status=2)
    assert "rank 1: --device cpu, and rank 0 has auto: give all ranks the same" in text, text


def test_other_data():
    """A rank with other data is refused."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0:
        return print("skipped: other data, since a second view of the files is root's to make")
    there = folder / "nodes" / "images"
    for name, lost in (("a", 0), ("b", 1)):
        shutil.copytree(folder / "images", folder / name / "data")
        if lost:
            (folder / name / "data/red/100.ppm").unlink()
    text_of = recipe(1).read_text().replace(str(folder / "images"), "data")
    # The same words in two folders, as on two machines; the recipe keeps absolute paths, so these are links.
    (folder / "nodes").mkdir()
    command = []
    for name in ("a", "b"):
        command += ([":"] if command else []) + ["-np", "1", "unshare", "-m", "bash", "-c",
                    f"mkdir -p '{there}' && mount --bind '{folder / name / 'data'}' '{there}' && exec '{program}' train "
                    f"'{folder / 'nodes.toml'}' --out '{folder / 'otherdata'}'"]
    there.mkdir()
    (folder / "nodes.toml").write_text(text_of.replace('"data"', f'"{there}"'))
    text = run(["mpirun", "--oversubscribe", *command], status=2)
    assert re.search(r"rank 1: other data than rank 0's: 89 images.* there and 90 images", text), text


def test_errors_of_one_rank():
    """What goes wrong on one rank ends all with one line: a bad image, a loss that isn't finite, a full disk."""
    shutil.copytree(folder / "images", folder / "broken")
    for name in ("red", "green", "blue"):
        for i in (105, 112, 121):
            (folder / "broken" / name / f"{i}.ppm").write_bytes(b"P6\n16 16\n255\n")
    bad = recipe(1, "broken")
    text = run(words(2, bad, "--out", folder / "bad"), status=2)
    assert text.count("hybridhash: ") == 1 and "bad image" in text and "--skip-bad leaves them out" in text, text
    text = run(words(2, bad, "--out", folder / "skipped", "--skip-bad"))
    assert "skipped" in text and position("skipped") == (1, 0)
    alone = run(words(1, bad, "--out", folder / "skipped1", "--skip-bad"))
    assert distance("skipped1", "skipped") < 1e-4, distance("skipped1", "skipped")
    assert "skipped" in alone
    text = run(words(2, recipe(1), "--out", folder / "lost", "--set", "schedule.learning_rate=1e30"), status=2)
    assert text.count("hybridhash: ") == 1 and "the loss is no longer finite in epoch 1" in text, text
    text = run(["mpirun", "--oversubscribe", "-np", "1", "bash", "-c",
                f"trap '' XFSZ; ulimit -f 100; exec '{program}' train '{recipe(1)}' --out '{folder / 'full'}'", ":",
                "-np", "1", program, "train", recipe(1), "--out", folder / "full"], status=2)
    assert text.count("hybridhash: ") == 1 and "rank 0: " in text and "full/last.safetensors" in text, text


def test_launchers():
    """What isn't started as ranks, or can't be, says so."""
    alone = {k: v for k, v in ENVIRONMENT.items() if not k.startswith(("OMPI_COMM", "PMI", "SLURM"))}
    torchrun = {**alone, "RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    command = words(1, recipe(1), "--out", folder / "none", "--device", "cpu")
    assert "CPU ranks need mpirun or srun" in run(command, status=2, environment=torchrun)
    text = run(command, status=2, environment={**torchrun, "RANK": "2"})
    assert "RANK = '2': use a whole number from 0 to 1" in text, text
    text = run(words(2, recipe(1), "--out", folder / "none", "--device", "cuda:0"), status=2)
    assert "--device cuda:0: each of several processes takes the GPU of its number" in text, text
    assert "started by itself" in run([*command, "--distributed", "mpi"], status=2, environment=alone)
    assert "not set: RANK" in run([*command, "--distributed", "env"], status=2, environment=alone)
    # A batch script without srun is one process.
    text = run([*command], environment={**alone, "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_ID": "7"})
    assert "ranks by" not in text and position("none") == (1, 0)
    text = run(words(2, recipe(1), "--out", folder / "off", "--distributed", "off", "--threads", "1"), status=2)
    assert "another training writes to this folder" in text or "already holds a run" in text, text


SIMULATOR = os.environ.get("HH_SIMULATOR", "").split()


def two_steps(name):
    """A recipe of two steps that evaluates nothing: a simulated GPU takes a second a step. Of SGD, whose weights are as far
    apart as its gradients."""
    path = folder / f"{name}.toml"
    text = recipe(1).read_text().replace("hold_out = 9", "hold_out = 0").replace("by_query = true", "by_query = false")
    path.write_text(text.replace("query_per_class = 4", "query_per_class = 25").replace("batch = 14", "batch = 8")
                    .replace('kind = "adamw"', 'kind = "sgd"').replace("learning_rate = 1e-3", "learning_rate = 0.1"))
    return path


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def torchrun(port, rank, *arguments):
    """A process of two, as torchrun starts it, on a simulated GPU."""
    environment = {**ENVIRONMENT, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
                   "MASTER_PORT": str(port), "PTXSIM_NCCL_TIMEOUT": "100"}
    return subprocess.Popen([*SIMULATOR, program, "train", "--device", "cuda", *map(str, arguments)], env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def gpu_test_two_gpus():
    """Two processes on two GPUs, by NCCL and torchrun's variables, take the steps of two on CPUs."""
    run(words(2, two_steps("cpus"), "--out", folder / "cpus", "--device", "cpu"))
    port = free_port()
    ranks = [torchrun(port, rank, two_steps("gpus"), "--out", folder / "gpus") for rank in (0, 1)]
    outputs = [rank.communicate(timeout=300)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], outputs
    assert "2 ranks by NCCL" in outputs[0] and "epoch   1" not in outputs[1], outputs
    assert position("gpus") == (1, 0)
    run(words(1, two_steps("start"), "--out", folder / "start", "--device", "cpu", "--set", "schedule.learning_rate=1e-30"))
    moved = distance("start", "cpus")
    # Of float32 in another order, and the GPU's own exponentials: as in the tests of a trainer on each device.
    assert distance("cpus", "gpus") < 1e-4 * moved, (distance("cpus", "gpus"), moved)
    # Started by mpirun, they meet by MPI: the same bytes.
    text = run(["mpirun", "-np", "2", "--oversubscribe", *SIMULATOR, program, "train", two_steps("gpus"), "--device", "cuda", "--out",
                folder / "gpusmpi"])
    assert "2 ranks by NCCL" in text, text
    assert checkpoint("gpusmpi") == checkpoint("gpus")


def lost_rank(name, number):
    """A signal to the second of two GPUs' ranks, in its second epoch; gives what the first said and its exit status."""
    port = free_port()
    path = two_steps(name)
    ranks = [torchrun(port, rank, path, "--out", folder / name, "--set", "train.epochs=100", "--set", "train.timeout_s=5")
             for rank in (0, 1)]
    try:
        end = time.time() + LIMIT
        table = folder / name / "metrics.csv"
        while time.time() < end and not (table.exists() and table.read_text().count("\n") >= 2):
            assert ranks[0].poll() is None, ranks[0].communicate()[0]
            time.sleep(0.1)
        begin = time.time()
        os.killpg(ranks[1].pid, number)  # and what runs it
        output, _ = ranks[0].communicate(timeout=60)
        assert time.time() - begin <= 20, time.time() - begin
        return output, ranks[0].returncode
    finally:
        for rank in ranks:
            try:
                os.killpg(rank.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            rank.communicate()


def gpu_test_rank_gone():
    """A GPU's rank that is killed ends the other, with status 4."""
    output, status = lost_rank("gone", signal.SIGKILL)
    assert status == 4 and "rank 0: another rank is gone" in output, (status, output)


def gpu_test_rank_silent():
    """One that doesn't answer for train.timeout_s ends the other, too."""
    output, status = lost_rank("silent", signal.SIGSTOP)
    assert status == 4 and "rank 0: the other ranks haven't answered for 5 s (train.timeout_s)" in output, (status, output)


def main():
    make_images(folder / "images")
    prefix = "gpu_test_" if SIMULATOR else "test_"
    wanted = sys.argv[2:]
    passed = failed = 0
    for name, test in list(globals().items()):
        if not name.startswith(prefix) or (wanted and name not in wanted):
            continue
        begin = time.time()
        try:
            test()
            passed += 1
            print(f"passed {name} ({time.time() - begin:.1f} s)", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())

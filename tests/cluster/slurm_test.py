#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scripts/cluster/slurm_encode.sh on a Slurm of one node that is started here, two jobs at once: slurm_test.py PROGRAM, as
root. A task's program is killed; the same array again does what is missing. Then training on two processes, by srun."""
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

from collection import Collection

CONFIGURATION = """ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
"""


def free_ports(count):
    taken = [socket.socket() for _ in range(count)]
    for one in taken:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return ports


def wait_until(what, condition, seconds=60):
    for _ in range(seconds * 5):
        if condition():
            return
        time.sleep(0.2)
    raise TimeoutError(what)


class Slurm:
    def __init__(self, folder):
        self.folder = folder
        self.daemons = []
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        folder.chmod(0o755)  # munged wants that nobody else can write above its socket
        host = socket.gethostname().split(".")[0]
        text = CONFIGURATION.format(host=host, folder=folder, ports=free_ports(2), cpus=os.cpu_count())
        (folder / "slurm.conf").write_text(text)
        os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        self.start("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={key}",
                   f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munge.seed")
        wait_until("munged", (folder / "munge.socket").exists)
        self.start("slurmctld", "-D", "-i")
        self.start("slurmd", "-D", "-N", host)
        wait_until("Slurm: " + self.log(), lambda: "idle" in self.ask("sinfo", "-h", "-o", "%T"))

    def start(self, name, *words):
        log = open(self.folder / f"{name}.out", "w")
        self.daemons.append(subprocess.Popen([f"/usr/sbin/{name}", *words], stdout=log, stderr=log))

    def log(self):
        return "".join(path.read_text()[-500:] for path in self.folder.glob("*.out"))

    def ask(self, *words):
        return subprocess.run(words, capture_output=True, text=True).stdout

    def stop(self):
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()


def check_training(collection):
    """srun --mpi=pmix starts ranks, which leave the bytes of those that mpirun starts. A batch script that has Slurm's
    variables for two tasks, but no srun, is one process."""
    def train(name, *launcher):
        done = subprocess.run([*launcher, collection.program, "train", collection.folder / "tiny.toml", "--out",
                               collection.folder / name, "--device", "cpu"], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout, (collection.folder / name / "last.safetensors").read_bytes()

    os.environ.update({"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_mpi_yield_when_idle": "1"})
    _, by_mpirun = train("mpirun", "mpirun", "-np", "2", "--oversubscribe")
    told, by_srun = train("srun", "srun", "--mpi=pmix", "--ntasks=2", "--overcommit", "--mem=0")
    assert "2 ranks by Open MPI" in told, told
    assert by_srun == by_mpirun, "srun's ranks and mpirun's leave different bytes"
    told, _ = train("script", "salloc", "--quiet", "--ntasks=2", "--overcommit", "--mem=0")
    assert "ranks by" not in told, told


def main():
    collection = Collection(sys.argv[1])
    script = pathlib.Path(__file__).resolve().parents[2] / "scripts/cluster/slurm_encode.sh"
    parts = collection.folder / "parts"
    os.environ["HYBRIDHASH"] = collection.slow_program(["--shard 2/8", "--shard 5/8"])
    submit = ["sbatch", "--wait", "--array=0-7%2", f"--output={collection.folder}/log-%a", str(script), "8", collection.model,
              collection.list, str(parts), "--device", "cpu"]
    slurm = Slurm(collection.folder / "slurm")
    try:
        first = subprocess.Popen(submit, stdout=subprocess.DEVNULL)
        os.kill(collection.caught(0), signal.SIGKILL)
        # One that is cancelled: Slurm's SIGTERM reaches the program.
        program = collection.caught(1)
        job = slurm.ask("squeue", "-h", "-r", "-o", "%F").split()[0]
        subprocess.run(["scancel", f"{job}_5"], check=True)
        wait_until("the cancelled program", lambda: not pathlib.Path(f"/proc/{program}").exists())
        assert first.wait(120) != 0, "a killed task counts as done"
        there = sorted(path.name for path in parts.iterdir())
        wanted = [f"part-0000{i}-of-00008.codes" for i in range(8) if i not in (2, 5)]
        assert there == wanted, there
        subprocess.run(submit, check=True, timeout=120, stdout=subprocess.DEVNULL)
        check_training(collection)
    except BaseException:
        print(slurm.log(), *(path.read_text() for path in collection.folder.glob("log-*")), sep="\n")
        raise
    finally:
        slurm.stop()
    collection.run("codes", "merge", parts, "--out", collection.folder / "all.codes")
    assert (collection.folder / "all.codes").read_bytes() == collection.single, "the parts aren't the single run"
    print("an array of 8 on Slurm, two at once, one killed and one cancelled, submitted again: the single run's bytes; "
          "training by srun: mpirun's")


main()

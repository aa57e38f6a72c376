# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL of one's own: in a temporary folder, on loopback at a free port, gone when the context ends. It doesn't run as
root, so root runs it as the user postgres."""
import glob
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time


class Server:
    def __init__(self, settings=()):
        newest = max(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda place: int(place.split("/")[-2]))
        self.bin = pathlib.Path(newest)
        self.settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", *settings]
        self.process = None

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hh-postgres-"))
        self.words = []
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
            self.words = ["runuser", "-u", "postgres", "--"]
        try:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
            self.run("initdb", "-D", self.folder / "data", "-E", "UTF8", "--locale=C.UTF-8", "-U", "postgres", "-A", "trust")
            self.start()
        except BaseException:
            self.__exit__()
            raise
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        return self

    def __exit__(self, *_):
        if self.process:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, tool, *words):
        done = subprocess.run([*self.words, self.bin / tool, *words], capture_output=True, text=True, cwd="/")
        assert done.returncode == 0, f"{tool}: {done.stderr}"
        return done.stdout

    def sql(self, text, user="postgres"):
        """Its answer, columns with | between."""
        return self.run("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", user, "-d", "postgres", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1",
                        "-c", text)

    def start(self):
        log = open(self.folder / "log", "ab")
        settings = [word for setting in [*self.settings, f"port={self.port}"] for word in ("-c", setting)]
        self.process = subprocess.Popen([*self.words, self.bin / "postgres", "-D", self.folder / "data", *settings], stdout=log, stderr=log,
                                        cwd="/")
        for _ in range(1200):
            ready = subprocess.run([self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)])
            if ready.returncode == 0:
                return
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            time.sleep(.05)
        raise AssertionError("PostgreSQL doesn't start")

    def pid(self):
        return int((self.folder / "data" / "postmaster.pid").read_text().split()[0])

    def stop(self):
        try:
            os.kill(self.pid(), signal.SIGINT)  # at once, and in order
        except (FileNotFoundError, ProcessLookupError):
            pass
        self.process.wait(60)
        self.process = None

    def kill(self):
        """As a machine that loses its power, but for what the system has in its caches."""
        os.kill(self.pid(), signal.SIGKILL)
        self.process.wait(60)
        self.process = None
        # A new one can't begin before the old one's children are gone.
        time.sleep(.3)

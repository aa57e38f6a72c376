# SPDX-License-Identifier: Apache-2.0
"""A Milvus 2.3.5 of the test's own (milvus_requirements.txt) on loopback, with its data in a folder, that can be killed and
started again."""
import socket

import milvus


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Server:
    """Starts it. The URL stays when it is started again."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        # It takes ports that are free by its own search, from the usual ones on.
        self.server = milvus.MilvusServer(milvus.MilvusServerConfig())
        self.server.set_base_dir(self.folder)
        self.server.config.configs["proxy_port"] = self.port
        self.server.listen_port = self.port
        self.server.start()

    def kill(self):
        """At once, as by kill -9. (Asked to stop it takes up to half an hour.)"""
        self.server.server_proc.kill()
        self.server.server_proc.wait()
        self.server.server_proc = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.server.server_proc is not None:
            self.kill()

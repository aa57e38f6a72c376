#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scripts/cluster/spark_encode.py on Sail, in four partitions: sail_test.py PROGRAM. One program is killed on the way."""
import os
import pathlib
import signal
import sys
import threading

from collection import Collection

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts/cluster"))
from pysail.spark import SparkConnectServer  # noqa: E402
from pyspark.sql import SparkSession  # noqa: E402
from spark_encode import encode  # noqa: E402

collection = Collection(sys.argv[1])
server = SparkConnectServer(ip="127.0.0.1", port=0)
server.start(background=True)
spark = SparkSession.builder.remote(f"sc://127.0.0.1:{server.listening_address[1]}").getOrCreate()
paths = [*collection.paths, "/missing.ppm", None]
table = spark.createDataFrame([(path,) for path in paths], "path string").repartition(4)
slow = collection.slow_program(["encode"])


def kill_first():
    os.kill(collection.caught(0), signal.SIGKILL)


killer = threading.Thread(target=kill_first)
killer.start()
rows = encode(table, "path", collection.model, slow, ["--threads", "1", "--device", "cpu"]).collect()
killer.join()
codes = {row.path: row.code for row in rows}
assert len(rows) == len(paths), len(rows)
assert codes.pop("/missing.ppm") is None and codes.pop(None) is None
assert codes == collection.codes(), "other codes than the single run's"
try:
    encode(table, "path", "/no/model", collection.program).collect()
    raise AssertionError("a model that isn't there was taken")
except Exception as error:
    assert "exit status 2" in str(error), error
print("4 partitions on Sail, a program killed: the single run's codes", flush=True)
spark.stop()
os._exit(0)  # the server's threads wait for ever

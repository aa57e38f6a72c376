#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Images to codes in Spark: a table with a column of paths becomes a table path, code (hexadecimal).

    from spark_encode import encode
    codes = encode(spark.read.parquet("paths"), column="path", model="/disk/best.safetensors", program="/disk/hybridhash")

By DataFrame.mapInArrow, so it runs on classic Spark, Spark Connect and Sail alike. Each partition goes through one program:
repartition() decides how many there are. A program that dies, or says that another try is worth it, is started again; after
other errors the partition fails, and Spark repeats it (spark.task.maxFailures). An image that can't be read has no code
(null). Paths must be readable on every worker.
"""


def encode(table, column, model, program="hybridhash", options=("--threads", "1"), tries=4):
    # All that a worker needs is inside this function, which travels to it as it is.
    def run(batches):
        import subprocess
        import tempfile

        import pyarrow as pa

        try_again = 75

        def lines(folder):
            """(number, code) of each image; the program's death or a status of 75 is worth another try."""
            given = 0
            for left in reversed(range(tries)):
                with open(folder + "/errors", "w+") as errors:
                    # setpriv: a worker that is killed takes the program that it started along.
                    child = subprocess.Popen(
                        ["setpriv", "--pdeathsig", "TERM", program, "encode", "--model", model, "--list", folder + "/list",
                         "--null", "--out", "-", "--on-bad", "skip:" + folder + "/bad", *options],
                        stdout=subprocess.PIPE, stderr=errors)
                    try:
                        for line in child.stdout:
                            number, code = line.split(b"\t", 2)[:2]
                            if line.endswith(b"\n") and int(number) >= given:
                                given = int(number) + 1
                                yield int(number), code.decode()
                        status = child.wait()
                    finally:
                        child.kill()  # where the reader of these rows has gone
                        child.wait()
                    if status == 0:
                        return
                    again = status < 0 or status > 128 or status == try_again
                    if not again or left == 0:
                        errors.seek(0)
                        raise RuntimeError(f"hybridhash encode: exit status {status}: {errors.read().strip()[-500:]}")

        def table_of(rows):
            columns = [pa.array([row[i] for row in rows], pa.string()) for i in (0, 1)]
            return pa.RecordBatch.from_arrays(columns, names=["path", "code"])

        with tempfile.TemporaryDirectory() as folder:
            paths = [path for batch in batches for path in batch.column(0).to_pylist()]
            with open(folder + "/list", "wb") as file:
                for path in paths:  # ids count them, so that one that is missing has an entry too
                    file.write((path or "/").encode() + b"\0")
            rows, given = [], 0
            for number, code in lines(folder):
                rows += [(path, None) for path in paths[given:number]]  # what was left out
                rows.append((paths[number], code))
                given = number + 1
                if len(rows) >= 4096:
                    yield table_of(rows)
                    rows = []
            yield table_of(rows + [(path, None) for path in paths[given:]])

    return table.select(column).mapInArrow(run, "path string, code string")

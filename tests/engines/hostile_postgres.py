#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a broken or hostile PostgreSQL may send: hostile_postgres.py PROGRAM [MODE...]. A server of 100 lines speaks just enough of the
protocol, and then does what its mode says. Whatever that is, the program ends soon, with one line and status 2 or 75. The last line is "N
passed, N failed". Source of the messages: PostgreSQL's manual, "Frontend/Backend Protocol"."""
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

INT8, TEXT, BIT, INTS, BYTES, TRUTH = 20, 25, 1560, 1007, 17, 16
ABOUT = (b'{"format":"hybridhash collection","version":1,"bits":64,"model_hash":"","source":"","classes":2,"class_names":[],"next_id":100,'
         b'"push":{"source":"0000000000000000","generation":-1,"rows":0,"sum":"0000000000000000","manifest":"0000000000000000",'
         b'"strangers":false}}')
COLUMNS = [(b"id", b"bigint"), (b"code", b"bit(64)"), (b"labels", b"integer[]"), (b"path", b"text"), (b"path_bytes", b"bytea"),
           (b"metadata", b"text")]
CODE, NO_LABELS = struct.pack(">i", 64) + b"12345678", struct.pack(">iii", 0, 0, 23)
HEAD, END = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0), b"\xff\xff"


def message(kind, body=b""):
    return kind + struct.pack(">I", len(body) + 4) + body


READY = message(b"Z", b"I")


def number(value):
    return struct.pack(">q", value)


def rows(types, *values):
    head = struct.pack(">h", len(types)) + b"".join(b"c\0" + struct.pack(">IhIhih", 0, 0, t, 8, -1, 1) for t in types)
    lines = [struct.pack(">h", len(line)) + b"".join(struct.pack(">i", -1) if v is None else struct.pack(">i", len(v)) + v for v in line)
             for line in values]
    return (message(b"1") + message(b"2") + message(b"T", head) + b"".join(message(b"D", line) for line in lines) +
            message(b"C", b"SELECT 1\0") + READY)


def error(severity, state, text):
    return message(b"E", b"S" + severity + b"\0" + (b"C" + state + b"\0" if state else b"") + b"M" + text + b"\0\0")


def item(i, code=CODE, labels=NO_LABELS, path=b"x"):
    values = (number(i), code, labels, path, None, None)
    return struct.pack(">h", 6) + b"".join(struct.pack(">i", -1) if v is None else struct.pack(">i", len(v)) + v for v in values)


def label_list(count, *labels):
    return struct.pack(">iiiii", 1, 0, 23, count, 1) + b"".join(struct.pack(">ii", 4, label) for label in labels)


COPIES = {
    "copy_head": [HEAD[:15] + b"\xff\xff\xff\xff"],
    "copy_twice": [HEAD + item(1) + item(1) + END],
    "copy_back": [HEAD + item(9) + item(3) + END],
    "copy_negative_id": [HEAD + item(-1) + END],
    "copy_negative_length": [HEAD + struct.pack(">hi", 6, -2) + b"x" * 100 + END],
    "copy_short": [HEAD + item(1)[:20]],
    "copy_short_code": [HEAD + item(1, struct.pack(">i", 64) + b"1") + END],
    "copy_other_code": [HEAD + item(1, struct.pack(">i", 63) + b"12345678") + END],
    "copy_many_labels": [HEAD + item(1, labels=label_list(0x20000000, 1)) + END],
    "copy_negative_labels": [HEAD + item(1, labels=label_list(-1)) + END],
    "copy_negative_label": [HEAD + item(1, labels=label_list(1, -1)) + END],
    "copy_no_such_label": [HEAD + item(1, labels=label_list(1, 2)) + END],
    "copy_after_end": [HEAD + item(1) + END + item(2)],
    "copy_once_more": [HEAD + item(1) + END],
}
ABOUTS = {
    "about_junk": b'\xff\xfe{"\0',
    "about_deep": b"[" * 5_000_000,
    "about_bits": ABOUT.replace(b'"bits":64', b'"bits":1e30'),
    "about_classes": ABOUT.replace(b'"classes":2', b'"classes":2000000000'),
}
FOUND = {
    "search_negative": rows([INT8, INT8], (number(7), number(-3))),
    "search_far": rows([INT8, INT8], (number(7), number(1 << 40))),
    "search_many": rows([INT8, INT8], *[(number(i), number(3)) for i in range(50)]),
    "search_other_types": rows([TEXT], (b"hello",)),
    "search_null": rows([INT8, INT8], (None, None)),
}
REFUSALS = {
    "refused_shortly": error(b"FATAL", None, b"x"),
    "refused_without_words": error(b"FATAL", b"", b""),
    "refused_in_russian": error("ВАЖНО".encode(), b"28P01", "пользователь не прошёл проверку".encode()),
    "refused_at_length": error(b"FATAL", b"28000", b"evil \x1b[31m\x07 line" + b"Z" * 100_000),
    "huge_refusal": b"E\x7f\xff\xff\xff" + b"x" * 1_000_000,
    "garbage": b"\0\xff" * 5000,
}
# What comes in answer to the first statement, the last piece over and over.
FIRST = {
    "copy_both": [message(b"1") + message(b"2") + message(b"W", b"\1\0\0")],
    "endless_answers": [message(b"1") + message(b"2"), message(b"C", b"SET\0") * 1000, ...],
    "huge_row": [message(b"1") + message(b"2") + b"D\x7f\xff\xff\xff\0\1\x7f\xff\xff\0" + b"x" * 100_000],
    "no_row": [rows([INT8])],
    "null": [rows([INT8], (None,))],
}
MODES = [*REFUSALS, *FIRST, *ABOUTS, *COPIES, *FOUND, "silent", "silent_later"]
SOON = 25  # seconds that a mode may take; the two silent ones are ended by a signal


def exactly(connection, count):
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def statement(connection):
    """The SQL of the next one."""
    sql = b""
    while True:
        kind, size = exactly(connection, 1), struct.unpack(">I", exactly(connection, 4))[0]
        body = exactly(connection, size - 4)
        if kind == b"P":
            sql = body[1:].split(b"\0")[0]
        if kind == b"S":
            return sql
        if kind == b"X":
            raise EOFError


def start(connection):
    while True:
        size, = struct.unpack(">I", exactly(connection, 4))
        code, = struct.unpack(">I", exactly(connection, size - 4)[:4])
        if code not in (80877103, 80877104):  # no TLS here
            return
        connection.sendall(b"N")


def answer(connection, mode, sql):
    if sql.startswith(b"COPY") and b"STDOUT" in sql:
        connection.sendall(message(b"1") + message(b"2") + message(b"H", b"\1\0\6" + b"\0\1" * 6))
        for piece in COPIES.get(mode, [HEAD + item(1) + END]):
            connection.sendall(message(b"d", piece))
        connection.sendall(message(b"c"))
        if mode == "copy_once_more":
            connection.sendall(message(b"H", b"\1\0\6" + b"\0\1" * 6))
            time.sleep(1000)
        return message(b"C", b"COPY 1\0") + READY
    if b"to_regclass" in sql and b"IS NOT NULL" in sql:
        return rows([TRUTH, TRUTH], (b"\1", b"\1"))
    if b"about::text" in sql:
        return rows([TEXT], (ABOUTS.get(mode, ABOUT),))
    if b"pg_attribute" in sql:
        return rows([TEXT, TEXT], *COLUMNS)
    if b"bit_count" in sql:
        return FOUND.get(mode, rows([INT8, INT8], (number(7), number(3))))
    if sql.startswith(b"SELECT id, code"):
        return rows([INT8, BIT, INTS, TEXT, BYTES, TEXT], (number(7), CODE, NO_LABELS, b"path", None, None))
    if sql.startswith(b"SELECT"):
        return rows([INT8], (number(600_000),))
    return message(b"1") + message(b"2") + message(b"n") + message(b"C", sql.split()[0] + b"\0") + READY


def serve(connection, mode):
    try:
        if mode == "silent":
            time.sleep(1000)
        start(connection)
        if mode in REFUSALS:
            connection.sendall(REFUSALS[mode])
            return time.sleep(1)
        said = {b"server_version": b"15.3", b"server_encoding": b"UTF8", b"client_encoding": b"UTF8", b"standard_conforming_strings": b"on",
                b"integer_datetimes": b"on"}
        connection.sendall(message(b"R", struct.pack(">i", 0)) + b"".join(message(b"S", k + b"\0" + v + b"\0") for k, v in said.items()) +
                           message(b"K", struct.pack(">II", 1, 1)) + READY)
        if mode == "silent_later":
            time.sleep(1000)
        if mode in FIRST:
            statement(connection)
            pieces = FIRST[mode]
            for piece in pieces:
                while piece is ...:
                    connection.sendall(pieces[-2])
                connection.sendall(piece)
            time.sleep(SOON)
        while True:
            sql = statement(connection)
            connection.sendall(answer(connection, mode, sql))
    except (EOFError, OSError):
        pass
    finally:
        connection.close()


def run(program, folder, mode):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(20)

        def accept():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection, mode), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        of = ["--engine", "postgres", f"postgresql://me@127.0.0.1:{listener.getsockname()[1]}/d?sslmode=disable", "--collection", "a"]
        # Pulls stop and say so; a search by itself dies of a signal as every program does.
        searches = mode in FOUND
        command = [program, "search", *of, "--id", "7", "-k", "3"] if searches else \
            [program, "index", "pull", *of, "--out", os.path.join(folder, "out.csv")]
        pathlib.Path(folder, "out.csv").unlink(missing_ok=True)
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            if mode.startswith("silent"):
                time.sleep(1)
                process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=SOON)
        finally:
            process.kill()
        lines = [line for line in err.decode(errors="replace").splitlines() if "running on the CPU" not in line]
        wanted = (130,) if mode.startswith("silent") else (2, 75)
        assert process.returncode in wanted, f"status {process.returncode} after {time.monotonic() - began:.1f} s: {out!r} {err!r}"
        assert len(lines) == 1 and re.match("hybridhash: .{20,}", lines[0]) and "substr" not in lines[0], err
        assert not os.path.exists(os.path.join(folder, "out.csv")), "a file was written"
        if mode == "refused_in_russian":
            assert process.returncode == 2 and "PGPASSFILE" in lines[0], lines[0]
        return lines[0][:150]


def main():
    program, wanted = os.path.abspath(sys.argv[1]), sys.argv[2:] or MODES
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for mode in wanted:
            try:
                print(f"{mode}: {run(program, folder, mode)}", flush=True)
                passed += 1
            except (AssertionError, subprocess.TimeoutExpired) as problem:
                print(f"FAILED {mode}: {problem}", flush=True)
                failed += 1
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())

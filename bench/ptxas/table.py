#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Registers, spills, shared memory and occupancy of every CUDA kernel, from `ptxas -v` on the PTX in the library.
  table.py LIBRARY [--arch 80,90]                     prints the table
  table.py LIBRARY --check baseline.tsv               status 1 on a new spill or a lost occupancy
  table.py LIBRARY --write baseline.tsv               renews the baseline (all six architectures)
Needs ptxas, c++filt and libzstd.so.1, which nvcc, g++ and Debian bring. Occupancy is what registers and static shared
memory allow at the block size of __launch_bounds__ (256 threads where there are none): what is asked for at the launch
isn't in the PTX."""
import argparse
import collections
import concurrent.futures
import ctypes
import os
import re
import struct
import subprocess
import sys
import tempfile

ARCHS = ["80", "86", "89", "90", "100", "120"]
# Of an SM: threads, blocks, bytes of shared memory (CUDA C++ Programming Guide, compute capabilities). 1 KiB of it a
# block is the system's; registers are 65,536 and come in units of 256 a warp.
LIMITS = {"80": (2048, 32, 167936), "86": (1536, 16, 102400), "89": (1536, 24, 102400), "90": (2048, 32, 233472),
          "100": (2048, 32, 233472), "120": (1536, 24, 102400)}
FIELDS = ["kernel", "arch", "threads", "registers", "spill_bytes", "shared_bytes", "occupancy"]


def ptx_modules(library):
    """The PTX texts of a library: entries of fat binaries (magic ba55ed50), plain or packed by zstd."""
    zstd = ctypes.CDLL("libzstd.so.1")
    zstd.ZSTD_decompress.restype = ctypes.c_size_t
    zstd.ZSTD_decompress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    with open(library, "rb") as f:
        data = f.read()
    at = data.find(b"\x50\xed\x55\xba")
    while at >= 0:
        header, size = struct.unpack_from("<HQ", data, at + 6)
        entry, end = at + header, at + header + size
        while 0 < size and entry + 64 <= end <= len(data):
            kind, _, head, payload = struct.unpack_from("<HHIQ", data, entry)
            stored, = struct.unpack_from("<I", data, entry + 16)
            flags, = struct.unpack_from("<Q", data, entry + 40)
            unpacked, = struct.unpack_from("<Q", data, entry + 56)
            body = data[entry + head:entry + head + payload]
            if kind == 1:
                if flags & 0x8000:
                    text = ctypes.create_string_buffer(unpacked)
                    if zstd.ZSTD_decompress(text, unpacked, body, stored) > unpacked:
                        sys.exit(f"{library}: PTX that zstd can't unpack")
                    body = text.raw
                yield body.split(b"\0")[0].decode()
            entry += head + payload
        at = data.find(b"\x50\xed\x55\xba", at + 4)


def short_names(mangled):
    """"add.cu: add_kernel<float, 4>" for each: the file is in the name of its anonymous namespace."""
    plain = subprocess.run(["c++filt"], input="\n".join(mangled), capture_output=True, text=True, check=True).stdout
    names = {}
    for raw, name in zip(mangled, plain.splitlines()):
        unit = re.search(r"_GLOBAL__N__[0-9a-f]+_\d+_(\w+?)_cu_", raw)
        name = re.sub(r"\(anonymous namespace\)::|hh::gpu::|hh::|\(int\)|^void ", "", name)
        depth, end = 0, len(name)
        for i, c in enumerate(name):  # the parameters begin at the first bracket outside of <>
            depth += (c == "<") - (c == ">" and name[i - 1] != "-")
            if c == "(" and depth == 0:
                end = i
                break
        names[raw] = (unit.group(1) + ".cu: " if unit else "") + name[:end]
    return names


def occupancy(arch, threads, registers, shared):
    most, blocks, memory = LIMITS[arch]
    warps = -(-threads // 32)
    fit = min(blocks, most // (warps * 32), memory // (shared + 1024))
    a_warp = -(-registers * 32 // 256) * 256
    if a_warp:
        fit = min(fit, 4 * (65536 // 4 // a_warp) // warps)
    return fit * warps * 32 / most


def compile_module(text, arch):
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as f:
        f.write(text)
        f.flush()
        done = subprocess.run(["ptxas", "-v", f"-arch=sm_{arch}", "-O3", "-o", "/dev/null", f.name],
                              capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"ptxas for sm_{arch}: {done.stderr.splitlines()[-1]}")
    threads = {}
    for name, rest in re.findall(r"\.entry\s+(\w+)\(.*?\)([^{]*)\{", text, re.S):
        bound = re.search(r"\.(?:maxntid|reqntid)\s+(\d+)(?:\s*,\s*(\d+))?(?:\s*,\s*(\d+))?", rest)
        size = 1
        for extent in bound.groups() if bound else ("256",):
            size *= int(extent or 1)
        threads[name] = size
    rows, name, spill = [], None, 0
    for line in done.stderr.splitlines():
        if m := re.search(r"Compiling entry function '(\w+)'", line):
            name, spill = m.group(1), 0
        elif m := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            spill = int(m.group(1)) + int(m.group(2))
        elif name and (m := re.search(r"Used (\d+) registers", line)):
            shared = re.search(r"(\d+) bytes smem", line)
            shared = int(shared.group(1)) if shared else 0
            registers = int(m.group(1))
            rows.append([name, arch, threads[name], registers, spill, shared,
                         occupancy(arch, threads[name], registers, shared)])
            name = None
    return rows


def measure(library, archs):
    modules = list(ptx_modules(library))
    if not modules:
        sys.exit(f"{library}: holds no PTX")
    jobs = [(text, arch) for text in modules for arch in archs]
    jobs.sort(key=lambda job: -len(job[0]))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        raw = [row for rows in pool.map(lambda job: compile_module(*job), jobs) for row in rows]
    names = short_names(sorted({row[0] for row in raw}))
    table = {}
    for row in raw:  # instances that differ in their parameters alone share a name: the worst one counts
        key, old = (names[row[0]], row[1]), table.get((names[row[0]], row[1]))
        new = [*key, *row[2:6], round(row[6], 3)]
        table[key] = new if old is None else [*key, *map(max, old[2:6], new[2:6]), min(old[6], new[6])]
    return dict(sorted(table.items(), key=lambda item: (item[0][0], int(item[0][1]))))


def version():
    said = subprocess.run(["ptxas", "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(r"V([\d.]+)", said).group(1)


def read(path):
    with open(path) as f:
        made_by = f.readline().split()[-1]
        f.readline()
        rows = [line.rstrip("\n").split("\t") for line in f]
    return made_by, {(r[0], r[1]): [r[0], r[1], *map(int, r[2:6]), float(r[6])] for r in rows}


def faults(now, before):
    """What got worse. A kernel that the baseline doesn't know may not spill."""
    for key, row in now.items():
        old = before.get(key)
        where = f"{key[0]} sm_{key[1]}: "
        if row[4] > (old[4] if old else 0):
            yield where + f"{row[4]} bytes of spills, {old[4] if old else 0} in the baseline"
        if old and row[6] < old[6] - 1e-6:
            yield where + f"occupancy {row[6]:.3f} ({row[3]} registers), {old[6]:.3f} ({old[3]}) in the baseline"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("library")
    p.add_argument("--arch", default=None, help="of " + ",".join(ARCHS))
    p.add_argument("--check")
    p.add_argument("--write")
    a = p.parse_args()
    archs = a.arch.split(",") if a.arch else ARCHS
    if unknown := [x for x in archs if x not in LIMITS]:
        p.error(f"--arch {unknown[0]}: must be of {', '.join(ARCHS)}")
    if a.check:
        made_by, before = read(a.check)
        if made_by != version():
            print(f"skipped: the baseline is of ptxas {made_by}, this is {version()}; allocation differs between releases")
            return 0
        now = measure(a.library, archs)
        worse = list(faults(now, before))
        print("\n".join(worse + [f"{len(now)} kernels and architectures compiled, {len(worse)} worse than {a.check}"]))
        fresh = collections.Counter(key[0] for key in now if key not in before)
        if fresh:
            print(f"{len(fresh)} kernels are not in the baseline; renew it with --write")
        if worse:
            print(f"Where this is meant: bench/ptxas/table.py {a.library} --write {a.check}")
        return 1 if worse else 0
    now = measure(a.library, archs)
    if a.write:
        with open(a.write + ".tmp", "w") as f:
            f.write(f"# ptxas {version()}\n" + "\t".join(FIELDS) + "\n")
            f.writelines("\t".join(str(v) for v in row) + "\n" for row in now.values())
        os.replace(a.write + ".tmp", a.write)
        return 0
    print(f"{'kernel':80} {'arch':>4} {'threads':>7} {'regs':>4} {'spill B':>7} {'shared B':>8} {'occupancy':>9}")
    for row in now.values():
        print(f"{row[0]:80} {row[1]:>4} {row[2]:7d} {row[3]:4d} {row[4]:7d} {row[5]:8d} {row[6]:9.0%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

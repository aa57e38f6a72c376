# SPDX-License-Identifier: Apache-2.0
"""Random codes of 64 bits as a .npy file: random_codes.py COUNT FILE"""
import os
import sys

CHUNK = 1 << 23  # codes at a time, 64 MiB


def main():
    count, path = int(sys.argv[1]), sys.argv[2]
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({count}, 8), }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"  # what stands before the data has a multiple of 64 bytes
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode())
        for first in range(0, count, CHUNK):
            f.write(os.urandom(8 * min(CHUNK, count - first)))


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Tensors in safetensors files, by NumPy alone. Nothing in a file is trusted.

Written as the program writes them (larger elements first, on a 64-byte boundary, keys in order), so that the same
tensors are the same bytes; bfloat16, which NumPy doesn't have, goes through as it is.
Source: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import json
import math
import os
import secrets
import stat
import struct
from typing import Any, Callable, Mapping, NamedTuple

import numpy as np

ELEMENT_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
                 "I8": 1, "U8": 1, "BOOL": 1}
_MAX_HEADER = 100_000_000  # the format's own limit
_ALIGNMENT = 64


class Tensor(NamedTuple):
    """A tensor as it lies in a file."""

    dtype: str  #: "F32", "BF16", ...
    shape: tuple[int, ...]
    data: np.ndarray  #: uint8 [bytes], little-endian, row-major

    def floats(self) -> np.ndarray:
        """float32 of this shape. ValueError for whole numbers."""
        if self.dtype == "BF16":
            values = (self.data.view("<u2").astype("<u4") << 16).view("<f4")
        elif self.dtype in ("F64", "F32", "F16"):
            with np.errstate(over="ignore", invalid="ignore"):  # past float's range: infinite, as in the program
                values = self.data.view(f"<f{ELEMENT_BYTES[self.dtype]}").astype(np.float32)
        else:
            raise ValueError(f"{self.dtype}, not real numbers")
        return values.reshape(self.shape)


def shape_text(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def one_line(error: BaseException) -> str:
    """What a command says of an error. Names in it may come from a hostile file."""
    text = str(error)[:2000] or type(error).__name__
    return "".join(c if c.isprintable() else "?" for c in text)


def is_safetensors(start: bytes) -> bool:
    """By a file's first bytes."""
    return len(start) > 8 and start[8:9] == b"{" and struct.unpack("<Q", start[:8])[0] <= _MAX_HEADER


def read_safetensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors in the order in which they lie, and the metadata. The bytes stay in the file, mapped.

    ValueError, which starts with the path, for what isn't a whole safetensors file; OSError for what can't be read.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else -1
        if not 0 <= length <= min(_MAX_HEADER, size - 8):
            raise ValueError(f"{os.fspath(path)}: not a safetensors file")
        header = file.read(length)
        data = np.memmap(file, np.uint8, "r", 8 + length, (size - 8 - length,)) if size > 8 + length else \
            np.zeros(0, np.uint8)
    try:
        entries = json.loads(header)
        metadata = entries.pop("__metadata__", None) or {}
        if not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("its metadata aren't strings")
        found = {name: _entry(name, entry, data) for name, entry in entries.items()}
        end = 0
        for name, (begin, tensor) in sorted(found.items(), key=lambda one: (one[1][0], len(one[1][1].data))):
            if begin != end:
                raise ValueError(f"{name} overlaps another tensor, or there is a gap before it")
            end += len(tensor.data)
        if end != len(data):
            raise ValueError("there are bytes behind the last tensor")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{os.fspath(path)}: not a valid safetensors file: {type(error).__name__}: {error}") from None
    return {name: tensor for name, (_, tensor) in sorted(found.items(), key=lambda one: one[1][0])}, metadata


def _entry(name: str, entry: dict[str, Any], data: np.ndarray) -> tuple[int, Tensor]:
    dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    if dtype not in ELEMENT_BYTES:
        raise ValueError(f"{name}: unknown type {dtype!r}")
    if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
        raise ValueError(f"{name}: its shape or its place isn't of whole numbers")
    if not begin <= end <= len(data) or end - begin != math.prod(shape) * ELEMENT_BYTES[dtype]:
        raise ValueError(f"{name}: bytes {begin} to {end} of {len(data)} for {dtype} {shape_text(shape)}")
    return begin, Tensor(dtype, shape, data[begin:end])


def write_safetensors(path: str | os.PathLike[str], tensors: Mapping[str, Tensor],
                      metadata: Mapping[str, str]) -> None:
    """Atomic. The same tensors and metadata give the same bytes."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    order = sorted(tensors.items(), key=lambda one: -ELEMENT_BYTES[one[1].dtype])
    offset = 0
    for name, tensor in order:
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape),
                        "data_offsets": [offset, offset + len(tensor.data)]}
        offset += len(tensor.data)
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)

    def write(file: Any) -> None:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, tensor in order:
            file.write(memoryview(tensor.data))

    write_atomically(path, write)


def write_atomically(path: str | os.PathLike[str], write: Callable[[Any], object]) -> None:
    """``write(file)`` fills a file under a temporary name, which is flushed and renamed; or nothing has changed.
    Devices and pipes have no old and new: they are written as the bytes come."""
    target = os.path.realpath(path)  # a link stays a link
    if os.path.exists(target) and not os.path.isfile(target):
        with open(target, "wb") as file:
            write(file)
        return
    temporary = f"{target}.{secrets.token_hex(4)}.tmp"
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(target):
            os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
        os.replace(temporary, target)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise

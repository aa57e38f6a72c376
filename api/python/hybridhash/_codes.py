# SPDX-License-Identifier: Apache-2.0
"""Items: codes, and what is known of them."""

from __future__ import annotations

import json
import os
from typing import Any, Iterable, Sequence

import numpy as np

from . import _core


def path_text(path: str | os.PathLike[str]) -> str:
    """The path as the library takes it; a path of bytes too, and names that aren't UTF-8 (PEP 383)."""
    text = os.fsdecode(os.fspath(path))
    os.fsencode(text)  # raises for a text that can be no name
    return text


def rows(codes: Any, bits: int) -> np.ndarray:
    """``codes`` as uint8 [n, ceil(bits / 8)]; one code [ceil(bits / 8)] is a row. Arrays that fit aren't copied."""
    array = np.asarray(getattr(codes, "codes", codes))
    if array.dtype != np.uint8:
        raise ValueError(f"codes of type {array.dtype}: use uint8, packed [n, {(bits + 7) // 8}]")
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2:
        raise ValueError(f"codes of {array.ndim} axes: use [n, {(bits + 7) // 8}]")
    return np.ascontiguousarray(array)


def whole_numbers(values: Any, name: str) -> np.ndarray:
    """``values`` as int64 [n]. TypeError for any other kind: a number that was rounded would name another item."""
    array = np.asarray(values)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} of type {array.dtype}: use whole numbers, int64 [n]")
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name}: {array.max()} is past int64's {np.iinfo(np.int64).max}")
    return np.atleast_1d(np.ascontiguousarray(array, dtype=np.int64))


def core_of(codes: Any, name: str) -> Any:
    """What the library knows of ``codes``. TypeError for anything but Codes."""
    if not isinstance(codes, Codes):
        raise TypeError(f"{name} is {type(codes).__name__}: use hybridhash.Codes, which Codes(array, bits) makes of an array")
    return codes._core


class Codes:
    """Codes with ids, and where they are known labels, names, metadata and real-valued outputs.

    codes        uint8 [n, ceil(bits / 8)]
    bits         1 to 512
    ids          int64 [n]; 0, 1, ... if not given
    labels       [n] class numbers, or n lists of them, or bool [n, classes]
    class_names  one a class
    names        n paths or names
    metadata     n dictionaries (or None)
    outputs      float32 [n, bits]
    model_hash   of the model that made them: codes of different models are never compared
    """

    def __init__(self, codes: Any, bits: int, *, ids: Any = None, labels: Any = None,
                 class_names: Sequence[str] | None = None, names: Sequence[str] | None = None,
                 metadata: Sequence[dict[str, Any] | None] | None = None, outputs: Any = None, model_hash: str = "") -> None:
        array = rows(codes, bits)
        words, classes = _label_words(labels, len(array), class_names)
        self._core = _core.make_codes(
            array, bits,
            None if ids is None else whole_numbers(ids, "ids"), words, classes,
            None if class_names is None else list(class_names),
            None if names is None else [path_text(name) for name in names],
            None if metadata is None else [json.dumps(one) if one else "" for one in metadata],
            None if outputs is None else np.ascontiguousarray(outputs, dtype=np.float32), model_hash)

    @classmethod
    def _of(cls, core: Any) -> Codes:
        made = cls.__new__(cls)
        made._core = core
        return made

    @classmethod
    def read(cls, path: str | os.PathLike[str], bits: int = 0) -> Codes:
        """The items of the file at ``path``: a code file, .npy (uint8 [n, bits / 8]), FAISS binary index or .csv.
        ``bits`` of a code, where the file knows bytes alone; 0: as many as it has."""
        return cls._of(_core.Codes.read(path_text(path), bits))

    def write(self, path: str | os.PathLike[str]) -> None:
        """By the ending of ``path``: .npy, .faiss, .csv, .copy (pgvector), .jsonl (Milvus), else a code file. Atomic."""
        self._core.write(path_text(path))

    def __len__(self) -> int:
        return len(self._core)

    def __repr__(self) -> str:
        return f"<hybridhash.Codes: {len(self)} of {self.bits} bits>"

    @property
    def bits(self) -> int:
        """Of a code, 1 to 512."""
        return self._core.bits

    @property
    def codes(self) -> np.ndarray:
        """uint8 [n, ceil(bits / 8)], read-only, of this object's memory."""
        return self._core.codes

    @property
    def ids(self) -> np.ndarray:
        """int64 [n], read-only, of this object's memory."""
        return self._core.ids

    @property
    def labels(self) -> list[list[int]] | None:
        """Class numbers of each item; None where no labels are known."""
        words = self._core.labels
        if words is None:
            return None
        bits = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1, bitorder="little")
        return [np.flatnonzero(row).tolist() for row in bits]

    @property
    def class_names(self) -> list[str] | None:
        """One a class; None where no labels are known."""
        return self._core.class_names

    @property
    def names(self) -> list[str] | None:
        """A path or name of each item; None where they aren't known."""
        return self._core.names

    @property
    def metadata(self) -> list[dict[str, Any] | None] | None:
        """A dictionary of each item (None: it has none); None where no item has one."""
        texts = self._core.metadata
        return None if texts is None else [json.loads(text) if text else None for text in texts]

    @property
    def outputs(self) -> np.ndarray | None:
        """float32 [n, bits], read-only, of this object's memory; None where they weren't kept."""
        return self._core.outputs

    @property
    def model_hash(self) -> str:
        """Of the model that made the codes, 16 hexadecimal digits; "" if unknown."""
        return self._core.model_hash


def _class_numbers(label: Any) -> np.ndarray:
    """Of one item."""
    array = np.atleast_1d(np.asarray(label))
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"label {label!r} of type {array.dtype}: use class numbers from 0 on; class_names has their names")
    return array.astype(np.int64)


def _label_words(labels: Any, count: int, class_names: Sequence[str] | None) -> tuple[np.ndarray | None, int]:
    """Labels packed as the library wants them, [n, ceil(classes / 64)] uint64, and the number of classes."""
    if labels is None:
        return None, 0 if class_names is None else len(class_names)
    if len(labels) != count:
        raise ValueError(f"{len(labels)} labels, but {count} codes")
    table = None if isinstance(labels, (list, tuple)) else np.asarray(labels)
    if table is not None and table.ndim == 2:
        if table.dtype != np.bool_:
            raise ValueError(f"labels of type {table.dtype} and shape {list(table.shape)}: a table of a column a class is bool, "
                             "so use labels.astype(bool); class numbers are [n], or n lists")
        per_item: Iterable[Any] = [np.flatnonzero(row) for row in table]
        classes = table.shape[1]
    else:
        per_item = [_class_numbers(one) for one in labels]
        classes = max((int(one.max()) for one in per_item if one.size), default=-1) + 1
    if class_names is not None:
        if len(class_names) < classes:
            raise ValueError(f"label {classes - 1}, but {len(class_names)} class names")
        classes = len(class_names)
    classes = max(classes, 1)
    words = np.zeros((count, (classes + 63) // 64), np.uint64)
    for row, one in enumerate(per_item):
        for label in one:
            if label < 0:
                raise ValueError(f"label {label}: use 0 or more")
            words[row, label // 64] |= np.uint64(1) << np.uint64(label % 64)
    return words, classes

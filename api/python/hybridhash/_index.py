# SPDX-License-Identifier: Apache-2.0
"""An index of codes in a folder."""

from __future__ import annotations

import os
from typing import Any, Iterator, NamedTuple, Sequence

import numpy as np

from . import _core
from ._codes import Codes, core_of, path_text, rows, whole_numbers

_SAME_ID = {"refuse": 0, "replace": 1, "renumber": 2}


class Hits:
    """What a search found: ``hits[q]`` is (ids, distances) of query q, nearest first.

    offsets    int64 [queries + 1]: query q has ids[offsets[q]:offsets[q + 1]]
    ids        int64 [all hits]
    distances  float32 [all hits], bits that differ, or what reranking puts in their place
    method     how it was searched: "scan", "multi-index", ...
    seconds    what the search took
    """

    def __init__(self, offsets: np.ndarray, ids: np.ndarray, distances: np.ndarray, method: str,
                 seconds: float) -> None:
        self.offsets, self.ids, self.distances = offsets, ids, distances
        self.method, self.seconds = method, seconds

    def __repr__(self) -> str:
        return f"<hybridhash.Hits: {len(self.ids)} of {len(self)} queries, by {self.method}>"

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, query: int) -> tuple[np.ndarray, np.ndarray]:
        if not -len(self) <= query < len(self):
            raise IndexError(f"query {query} of {len(self)}")
        query %= len(self)
        part = slice(self.offsets[query], self.offsets[query + 1])
        return self.ids[part], self.distances[part]

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return (self[query] for query in range(len(self)))


class Nearest(NamedTuple):
    """The k nearest of each query, nearest first; -1 where there are fewer."""

    ids: np.ndarray  #: int64 [queries, k]
    distances: np.ndarray  #: int32 [queries, k], bits that differ


class Index:
    """An index of codes that lies in ``folder``. It sees its own changes; refresh() shows those of other processes.

    Safe from many threads: searches run side by side, changes one after the other. A change lasts when its
    call returns; when it raises, the index is as it was.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._core = _core.Index(path_text(folder))
        self.folder = path_text(folder)

    @classmethod
    def build(cls, folder: str | os.PathLike[str], codes: Codes, *, overwrite: bool = False,
              keep_outputs: bool = False) -> Index:
        """Makes an index of the items ``codes`` in ``folder``, in place of one that is there with ``overwrite``;
        ``keep_outputs`` for ``query(rerank=...)``."""
        made = cls.__new__(cls)
        made.folder = path_text(folder)
        made._core = _core.Index.build(made.folder, core_of(codes, "codes"), overwrite, keep_outputs)
        return made

    def __len__(self) -> int:
        return len(self._core)

    def __repr__(self) -> str:
        return f"<hybridhash.Index {self.folder!r}: {len(self)} of {self.bits} bits>"

    @property
    def bits(self) -> int:
        """Of a code, 1 to 512."""
        return self._core.bits

    @property
    def model_hash(self) -> str:
        """Of the model that made the codes; "" if unknown."""
        return self._core.model_hash

    def add(self, codes: Codes, *, same_id: str = "refuse") -> int:
        """Adds the items ``codes``; how many old ones they replaced. ``same_id`` says what of ids that are there:
        "refuse", "replace", or "renumber" (all of them get new ids)."""
        if same_id not in _SAME_ID:
            raise ValueError(f"same_id = {same_id!r}: use {', '.join(_SAME_ID)}")
        return self._core.add(core_of(codes, "codes"), _SAME_ID[same_id])

    def remove(self, ids: Any) -> int:
        """Deletes items by ``ids``, int64 [n]; how many of them there were."""
        return self._core.remove(whole_numbers(ids, "ids"))

    def compact(self) -> None:
        """Gives back the space of deleted items."""
        self._core.compact()

    def refresh(self) -> None:
        """Shows what other processes have changed since."""
        self._core.refresh()

    def items(self, ids: Any) -> Codes:
        """Items by their ``ids``, int64 [n], in that order. ValueError for one that isn't there."""
        return Codes._of(self._core.items(whole_numbers(ids, "ids")))

    def select(self, *filters: str | Sequence[str]) -> Codes:
        """All items that pass all ``filters``, which are texts:

        "label=cat", "label=cat,dog" (either), "label!=cat"   by a class's name or number
        "path=a/b.jpg", "path~holiday/*"                      ~ is a pattern of * ? [...]; of paths only
        "id>=100"                                             = != < <= > >=
        "year<2020", "camera.name=X100"                       members of the metadata; ValueError where no item has it
        """
        return Codes._of(self._core.select(_filters(filters)))

    def search(self, codes: Any, k: int = 10) -> Nearest:
        """The k nearest of codes [n, ceil(bits / 8)] (or what Model.encode() gives): (ids, distances), each [n, k]."""
        return Nearest(*self._core.nearest(rows(codes, self.bits), k))

    def query(self, codes: Any = None, *, ids: Any = None, outputs: Any = None, k: int = 10,
              radius: int | None = None, filters: str | Sequence[str] = (), exclude_self: bool = False, rerank: int = 0,
              method: str = "auto", threads: int = 0) -> Hits:
        """Every kind of search.

        codes or ids   what is searched for; ``exclude_self`` leaves out a query by id itself
        radius         all at most so far away, in place of the k nearest
        filters        only items that pass, as select() takes them
        rerank         so many of the nearest are put in order of the outputs (of ``outputs`` or of items by id)
        method         "auto", "scan", "multi-index", "asymmetric"
        threads        at most so many; 0: hybridhash.threads()
        """
        if codes is None and ids is None:
            raise ValueError("query() of nothing: give codes or ids")
        if outputs is None and getattr(codes, "outputs", None) is not None:
            outputs = codes.outputs
        if outputs is not None:
            outputs = np.atleast_2d(np.ascontiguousarray(outputs, dtype=np.float32))
        return Hits(*self._core.search(None if codes is None else rows(codes, self.bits),
                                       None if ids is None else whole_numbers(ids, "ids"), outputs, k, radius, _filters([filters]),
                                       exclude_self, rerank, method, threads))


def _filters(given: Sequence[str | Sequence[str]]) -> list[str]:
    """Texts, and lists of them, as one list."""
    texts = [text for one in given for text in ([one] if isinstance(one, str) else one)]
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"filter {text!r}: use a text, as 'label=cat' or 'year<2020'")
    return texts

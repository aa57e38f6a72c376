# SPDX-License-Identifier: Apache-2.0
"""How good codes are."""

from __future__ import annotations

from typing import Any

from . import _core
from ._codes import Codes, core_of


def evaluate(queries: Codes, database: Codes, *, top_k: int = 0, radius: int = 2, bootstrap_samples: int = 1000,
             confidence: float = 0.95, seed: int = 0) -> dict[str, Any]:
    """Mean average precision and its companions, of ``queries`` searched for in ``database``; similar is what shares a
    class. ``bootstrap_samples`` of the queries, drawn by ``seed``, give an interval that holds the mean with
    ``confidence``; precision and recall are counted within ``radius`` bits.

    queries, database, bits    how many items were compared, and how long their codes are
    map           items at the same distance in the order in which they were added, as most programs report it
    map_expected  the expected value over all their orders; map_best and map_worst bound it
    map_interval  (low, high) of map by bootstrap over the queries; None without samples
    top_k         ranks that count; 0: all
    precision_within_radius    of what lies within ``radius`` bits of a query, the part that is similar; the mean
    recall_within_radius       of what is similar, the part that lies there
    queries_without_relevant   how many have nothing similar in ``database``; each counts 0 in map
    """
    return _core.evaluate(core_of(queries, "queries"), core_of(database, "database"), top_k, radius, bootstrap_samples,
                          confidence, seed)

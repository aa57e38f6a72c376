# SPDX-License-Identifier: Apache-2.0
"""HybridHash: images to short binary codes, an index of codes, their evaluation, training.

    import hybridhash
    model = hybridhash.Model("best.safetensors")
    index = hybridhash.Index.build("photos.index", model.encode_folder("photos"))
    ids, distances = index.search(model.encode("cat.jpg"), k=5)

A code of B bits is a row of ceil(B / 8) bytes (uint8): bit j is ``byte[j // 8] >> (j % 8) & 1``. Images are
8-bit arrays [h, w] (grey) or [h, w, 3] (RGB) of any size; the model's transform is applied. What is wrong raises
ValueError (what was given), MemoryError, InterruptedError (a callback asked for the end) or hybridhash.Error
(files, devices), with one line that says the value, the limit and the cure. Every call releases the
interpreter's lock while it works.
"""

from __future__ import annotations

from ._core import Error, __version__, set_log, set_threads, threads
from ._codes import Codes
from ._index import Hits, Index, Nearest
from ._model import Encoded, Model
from ._train import Recipe, Run, train
from ._evaluate import evaluate

__all__ = ["Codes", "Encoded", "Error", "Hits", "Index", "Model", "Nearest", "Recipe", "Run", "evaluate",
           "set_log", "set_threads", "threads", "train", "__version__"]

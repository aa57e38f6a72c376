# SPDX-License-Identifier: Apache-2.0
"""Training by a recipe."""

from __future__ import annotations

import json
import numbers
import os
from typing import Any, Callable, Mapping

import numpy as np

from . import _core
from ._codes import path_text
from ._model import Model


class Recipe:
    """What a training run computes: the TOML file at ``path`` (None: the defaults) and ``settings`` over it.

        Recipe("recipes/micro_fashion.toml", {"train.epochs": 3, "model.bits": 64})
    """

    def __init__(self, path: str | os.PathLike[str] | None = None,
                 settings: Mapping[str, Any] | None = None) -> None:
        self.path = None if path is None else path_text(path)
        self.settings = dict(settings or {})

    def __repr__(self) -> str:
        return f"<hybridhash.Recipe {self.path or 'of defaults'}: {', '.join(self.texts()) or 'no settings'}>"

    def texts(self) -> list[str]:
        """The settings as the command line writes them."""
        return [f"{key}={_toml(key, value)}" for key, value in self.settings.items()]


class Run:
    """A training run: its ``folder``, and whether it was ``completed`` (otherwise stopped)."""

    def __init__(self, folder: str, completed: bool) -> None:
        self.folder, self.completed = folder, completed

    def __repr__(self) -> str:
        return f"<hybridhash.Run {self.folder!r}{'' if self.completed else ', stopped'}>"

    @property
    def model_path(self) -> str:
        """The best epoch's model, or the checkpoint of a run that was stopped."""
        return os.path.join(self.folder, "best.safetensors" if self.completed else "last.safetensors")

    def model(self, **options: Any) -> Model:
        """Model(model_path, ...)."""
        return Model(self.model_path, **options)


def train(recipe: Recipe | str | os.PathLike[str] | None, folder: str | os.PathLike[str], *,
          settings: Mapping[str, Any] | None = None, device: str = "cpu", resume: bool = False,
          allow_changed_data: bool = False, on_epoch: Callable[[dict[str, Any]], object] | None = None,
          on_message: Callable[[str, bool], object] | None = None,
          on_progress: Callable[[str, int, int, str], object] | None = None) -> Run:
    """Trains into ``folder``, which then holds best.safetensors, metrics.csv and more. Ctrl-C, and whatever a
    callback raises, saves a checkpoint, ends the run and is raised; ``resume`` goes on from it bit for bit.

    recipe       a Recipe, the path of a TOML file, or None: the defaults; with ``settings`` over it, {"train.epochs": 3}
    device       "cpu", "cuda", "cuda:1", "auto"
    allow_changed_data  goes on although images have changed since the run began

    on_epoch     {"epoch", "epochs", "loss", "learning_rate", "images_per_second", "map" (None: not evaluated)}
    on_message   (line, is_warning)
    on_progress  (what, done, total, detail)
    """
    if not isinstance(recipe, Recipe):
        recipe = Recipe(recipe)
    place = path_text(folder)
    completed = _core.train(None if resume else recipe.path, place,
                            Recipe(None, {**recipe.settings, **(settings or {})}).texts(), device, resume,
                            allow_changed_data, on_epoch, on_message, on_progress)
    return Run(place, completed)


def _toml(key: str, value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (str, os.PathLike)):  # JSON's escapes are TOML's, but for one character
        return json.dumps(os.fspath(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple, np.ndarray)):
        return "[" + ", ".join(_toml(key, one) for one in value) + "]"
    if isinstance(value, numbers.Real):
        return str(value)
    raise TypeError(f"{key} = {value!r}: use a number, a bool, a text, a path, or a list of them"
                    + ("; leave out what keeps its default" if value is None else ""))

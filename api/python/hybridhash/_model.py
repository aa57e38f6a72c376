# SPDX-License-Identifier: Apache-2.0
"""A trained network."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Sequence, TypedDict

import numpy as np

from . import _core
from ._codes import Codes, path_text

if TYPE_CHECKING:
    from typing_extensions import Unpack


class SourceOptions(TypedDict, total=False):
    """What encode_folder() and its likes take; there it is told."""

    batch: int
    workers: int
    skip_bad: bool
    keep_outputs: bool
    max_megapixels: float
    progress: Callable[[int, int], object] | None


class Encoded(NamedTuple):
    """What the network made of images in memory."""

    codes: np.ndarray  #: uint8 [n, ceil(bits / 8)]
    outputs: np.ndarray  #: float32 [n, bits], in (-1, 1); bit j of a code is outputs[:, j] > 0


class Model:
    """A trained network, of a model file or a checkpoint of a training run.

    path     of that file
    device   "cpu", "cuda", "cuda:1", "auto"
    dtype    what the network computes in: "f32", "bf16", "int8" (CPU), "f16" (GPU)
    threads  at most so many CPU threads for this model; 0: hybridhash.threads()
    """

    def __init__(self, path: str | os.PathLike[str], device: str = "cpu", dtype: str = "f32",
                 threads: int = 0) -> None:
        for name, value in (("device", device), ("dtype", dtype)):
            if not isinstance(value, str):
                raise TypeError(f"{name} = {value!r}: use a text, as " + ('"f32" or "bf16"' if name == "dtype" else '"cpu" or "cuda:1"'))
        self._core = _core.Model(path_text(path), device, dtype, threads)
        self.path = path_text(path)

    def __repr__(self) -> str:
        return f"<hybridhash.Model {self.path!r}: {self.bits} bits, images of {self.image_size} pixels>"

    @property
    def bits(self) -> int:
        """Of a code, 1 to 512."""
        return self._core.bits

    @property
    def image_size(self) -> int:
        """Side of what the network sees, in pixels."""
        return self._core.image_size

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB); images of the other kind are converted."""
        return self._core.channels

    @property
    def hash(self) -> str:
        """16 hexadecimal digits of the weights' SHA-256."""
        return self._core.hash

    @property
    def class_names(self) -> list[str]:
        """Of the classes it was trained with; empty where nobody knows them."""
        return self._core.class_names

    def encode(self, images: Any, *, batch: int = 256, workers: int = 1,
               progress: Callable[[int, int], object] | None = None) -> Encoded:
        """Codes of ``images``: an array [n, h, w, c], [h, w, c] or [h, w] of uint8, a PIL image, a path, or a list of
        these. Arrays of any strides are read where they lie, also of other libraries by DLPack (on the CPU); copies()
        says where the model's transform had to copy. A PIL image is turned as a file of it would be.

        batch     images at once
        workers   threads that read and transform them; 0: none but this one
        progress  called with (done, total) after each batch; what it raises ends the call
        """
        listed = list(images) if isinstance(images, (list, tuple)) else [images]
        if any(isinstance(one, (str, os.PathLike)) for one in listed):
            if not all(isinstance(one, (str, os.PathLike)) for one in listed):
                raise ValueError("paths and images in one list: give one kind")
            codes = self.encode_files(listed, batch=batch, workers=workers, keep_outputs=True, progress=progress)
            return Encoded(codes.codes, codes.outputs)
        return Encoded(*self._core.encode(self._pixels(listed), batch, workers, progress))

    def transform(self, images: Any) -> np.ndarray:
        """What the network sees of ``images`` (arrays and PIL images, as encode() takes them): uint8 [n, S, S, C], by the
        model's transform. An ONNX graph of the model takes it, and hybridhash.torch's network after its normalise()."""
        listed = list(images) if isinstance(images, (list, tuple)) else [images]
        if any(isinstance(one, (str, os.PathLike)) for one in listed):
            raise TypeError("transform() takes arrays and PIL images: open files by PIL.Image.open(path)")
        return self._core.transform(self._pixels(listed))

    def _pixels(self, images: list[Any]) -> list[np.ndarray]:
        return [_pixels(one, self._core.exif_orientation) for one in images]

    def encode_files(self, files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
                     **options: Unpack[SourceOptions]) -> Codes:
        """Codes of image ``files``, one or many, with their names. Options: as encode_folder()."""
        listed = [files] if isinstance(files, (str, os.PathLike)) else files
        return self._encode("files", "", [path_text(file) for file in listed], options)

    def encode_folder(self, folder: str | os.PathLike[str], *, classes: bool = False, **options: Unpack[SourceOptions]) -> Codes:
        """Codes of all images of ``folder`` at any depth, with their names; with ``classes`` a sub-folder is a class.

        batch, workers, progress   as encode()
        skip_bad       leave out images that can't be read, in place of an error: their names are missing in the result
        keep_outputs   also the real-valued outputs
        max_megapixels largest image that is read; 0: the usual limit
        """
        return self._encode("class_folder" if classes else "folder", path_text(folder), [], options)

    def encode_list(self, file: str | os.PathLike[str], *, image_root: str | os.PathLike[str] = "",
                    **options: Unpack[SourceOptions]) -> Codes:
        """Codes of a list file's images: ``path l_1 ... l_n`` a line, paths below ``image_root`` (otherwise the
        working directory). Options: as encode_folder()."""
        return self._encode("list", path_text(file), [], options, path_text(image_root))

    def encode_part(self, part: str, **options: Unpack[SourceOptions]) -> Codes:
        """Codes of a ``part`` of the model's own data: "query", "train", "database" or "all". Options: as
        encode_folder()."""
        return self._encode("part", part, [], options)

    def _encode(self, kind: str, place: str, files: list[str], options: SourceOptions, image_root: str = "") -> Codes:
        for name in options:
            if name not in SourceOptions.__annotations__:
                raise TypeError(f"there is no option {name}: use {', '.join(SourceOptions.__annotations__)}")
        return Codes._of(self._core.encode_source(
            files, kind, place, image_root, options.get("batch", 256), options.get("workers", 1),
            options.get("skip_bad", False), options.get("keep_outputs", False), options.get("max_megapixels", 0),
            options.get("progress")))

    def export_onnx(self, path: str | os.PathLike[str], *, batch: int | None = None, opset: int = 17,
                    inputs: str = "pixels", outputs: str = "both") -> None:
        """Writes the network to ``path`` for ONNX Runtime, OpenVINO and others, in float32.

        batch    images at once; None: any number
        opset    version of ONNX's operations, 17 to 20
        inputs   "pixels": uint8 [n, S, S, C], what the model's transform makes of photographs; "normalised": float32
                 [n, C, S, S], normalised before
        outputs  "outputs": float32 [n, bits]; "codes": uint8 [n, ceil(bits / 8)], packed as everywhere; "both"
        """
        if batch is not None and batch < 1:
            raise ValueError(f"batch = {batch}: use 1 or more, or None for any number")
        self._core.export_onnx(path_text(path), batch or 0, opset, inputs, outputs)

    def copies(self) -> tuple[int, int]:
        """How many images encode() copied before the network saw them, and how many it read where they lay."""
        return self._core.copies()


def _pixels(image: Any, turned: bool) -> np.ndarray:
    """An array of uint8, without a copy where there is one. ``turned``: a PIL image as its EXIF data says, as a file is."""
    if isinstance(image, np.ndarray):
        array = image
    elif hasattr(image, "mode") and hasattr(image, "convert"):  # PIL
        array = _pil_pixels(image, turned)
    elif hasattr(image, "__dlpack__"):
        array = np.from_dlpack(image)
    else:
        array = np.asarray(image)
    if array.dtype != np.uint8:
        raise ValueError(f"an image of type {array.dtype}: use uint8, 0 to 255")
    return array


def _pil_pixels(image: Any, turned: bool) -> np.ndarray:
    if image.mode[0] in "IF":  # "I;16" and so on, which PIL's convert() cuts off at 255
        raise ValueError(f"a PIL image of mode {image.mode}, whose pixels aren't 8-bit: give the file's path, or make it 8-bit")
    if turned:
        from PIL import ImageOps
        image = ImageOps.exif_transpose(image)
    return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))

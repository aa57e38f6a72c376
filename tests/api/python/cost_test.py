# SPDX-License-Identifier: Apache-2.0
"""What Python adds to a call of the library, by pytest -s: the same call by the package and by the C function (by ctypes,
which costs C's side a microsecond), in turns, the least of each. It may be 2 % and 20 us. A busy machine adds noise to
either side, so the best of some tries counts."""

import ctypes
import math
import os
import time

import numpy as np
import pytest

import hybridhash
from hybridhash import _network, _weights
from hybridhash.convert import convert

MICRO = _network.Config(32, 2, 3, (32, 64, 128), (1, 2, 4), (1, 1, 2), 32, 0.5)
MOST_US, MOST_SHARE = 20, 0.02


class Image(ctypes.Structure):
    _fields_ = [("pixels", ctypes.c_void_p), ("height", ctypes.c_int32), ("width", ctypes.c_int32),
                ("channels", ctypes.c_int32), ("row_stride", ctypes.c_int64), ("pixel_stride", ctypes.c_int64),
                ("channel_stride", ctypes.c_int64)]


class EncodeOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("batch", ctypes.c_int), ("workers", ctypes.c_int),
                ("skip_bad", ctypes.c_int), ("keep_outputs", ctypes.c_int), ("max_megapixels", ctypes.c_double),
                ("progress", ctypes.c_void_p), ("user", ctypes.c_void_p)]


class ModelOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("device", ctypes.c_char_p), ("dtype", ctypes.c_char_p),
                ("threads", ctypes.c_int)]


@pytest.fixture(scope="module")
def library():
    return ctypes.CDLL(os.path.join(os.path.dirname(hybridhash.__file__), "libhybridhash.so.0"))


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    rng = np.random.default_rng(1)
    tensors = {name: _weights.Tensor("F32", shape, rng.normal(0, 0.02, math.prod(shape)).astype("<f4").view(np.uint8))
               for name, shape in _network.network_shapes(MICRO).items()}
    _weights.write_safetensors(folder / "weights.safetensors", tensors, {})
    convert(folder / "weights.safetensors", folder / "model.safetensors", resize="none")
    return folder / "model.safetensors"


def compared(ours, theirs, rounds):
    """The least time of each in seconds; they take turns."""
    times = ([], [])
    for _ in range(rounds):
        for i, call in enumerate((ours, theirs)):
            start = time.perf_counter()
            call()
            times[i].append(time.perf_counter() - start)
    return min(times[0]), min(times[1])


def assert_cheap(what, made, rounds, tries=24):
    """``made()`` opens both sides anew: where weights come to lie makes 10 us of difference, in favour of either."""
    said = []
    for _ in range(tries):
        python, c = compared(*made(), rounds)
        said.append(f"{what}: {1e6 * python:.1f} us by Python, {1e6 * c:.1f} us by C, {1e6 * (python - c):+.1f} us, "
                    f"{100 * (python / c - 1):+.2f} %")
        print(said[-1])
        # Of a call of milliseconds 20 us is below what can be measured here: it has to keep within the 2 %.
        if python <= (1 + MOST_SHARE) * c and (python - c <= MOST_US / 1e6 or c > 2e-3):
            return
    raise AssertionError("\n".join(said))


@pytest.mark.parametrize("count, rounds", [(1, 300), (64, 12)])
def test_encode(library, model_file, count, rounds):
    pixels = np.random.default_rng(2).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    images = (Image * count)(*[Image(pixels[i].ctypes.data, 32, 32, 3, 96, 3, 1) for i in range(count)])
    options = EncodeOptions(ctypes.sizeof(EncodeOptions), 256, 1, 0, 0, 0, None, None)
    codes, outputs = np.zeros((count, 4), np.uint8), np.zeros((count, 32), np.float32)
    opened = ModelOptions(ctypes.sizeof(ModelOptions), b"cpu", b"f32", 1)
    models, handles = [], []

    def made():
        models.append(hybridhash.Model(model_file, threads=1))
        handles.append(ctypes.c_void_p())
        assert library.hh_model_open(str(model_file).encode(), ctypes.byref(opened), ctypes.byref(handles[-1])) == 0
        model, arguments = models[-1], (handles[-1], images, ctypes.c_int64(count), ctypes.byref(options),
                                        ctypes.c_void_p(codes.ctypes.data), ctypes.c_void_p(outputs.ctypes.data))
        assert library.hh_model_encode(*arguments) == 0
        found = model.encode(pixels)
        assert (found.codes == codes).all() and (found.outputs == outputs).all()
        return lambda: model.encode(pixels), lambda: library.hh_model_encode(*arguments)

    assert_cheap(f"encode of {count}", made, rounds)
    for model in models:  # the batch was read where it lies, every time
        copied, in_place = model.copies()
        assert copied == 0 and in_place % count == 0 and in_place > 0
    for handle in handles:
        library.hh_model_close(handle)


def test_search(library, tmp_path):
    """100,000 codes of 64 bits: the scan takes some 20 us, so 2 % of it is nothing; a search of 256 has both limits."""
    rng = np.random.default_rng(3)
    index = hybridhash.Index.build(tmp_path / "index", hybridhash.Codes(
        rng.integers(0, 256, (100_000, 8), dtype=np.uint8), 64))
    handle = ctypes.c_void_p()
    assert library.hh_index_open(str(tmp_path / "index").encode(), ctypes.byref(handle)) == 0
    hybridhash.set_threads(1)
    try:
        for count in (1, 256):
            queries = rng.integers(0, 256, (count, 8), dtype=np.uint8)
            ids, distances = np.zeros((count, 10), np.int64), np.zeros((count, 10), np.int32)
            arguments = (handle, ctypes.c_void_p(queries.ctypes.data), ctypes.c_int64(count), ctypes.c_int64(10),
                         ctypes.c_void_p(ids.ctypes.data), ctypes.c_void_p(distances.ctypes.data))
            assert library.hh_index_nearest(*arguments) == 0
            assert (index.search(queries, 10).ids == ids).all()
            ours, theirs = lambda: index.search(queries, 10), lambda: library.hh_index_nearest(*arguments)  # noqa: E731
            if count == 1:
                best = min(a - b for a, b in (compared(ours, theirs, 300) for _ in range(6)))
                print(f"search by 1: {1e6 * best:+.1f} us")
                assert best <= MOST_US / 1e6
            else:
                assert_cheap(f"search by {count}", lambda: (ours, theirs), 60)
    finally:
        hybridhash.set_threads(0)
        library.hh_index_close(handle)

# SPDX-License-Identifier: Apache-2.0
"""hybridhash.torch's way to a GPU, without PyTorch: kernels by addresses, a stream and a function that lends scratch memory, on
a GPU or a simulated one (ptxsim run -- python -m pytest gpu_test.py), against the CPU's. Skipped where there is none, or by
HH_TEST_DEVICES=cuda an error."""

import ctypes
import os

import numpy as np
import pytest

kernels = pytest.importorskip("hybridhash._kernels")
CPU = kernels.Place(-1, 0, 1, None)


class Gpu:
    """Memory by the CUDA runtime."""

    def __init__(self):
        self.runtime = ctypes.CDLL("libcudart.so.13")
        self.lent, self.stream = [], ctypes.c_void_p()
        self.check(self.runtime.cudaSetDevice(0))
        self.check(self.runtime.cudaStreamCreate(ctypes.byref(self.stream)))
        self.place = kernels.Place(0, self.stream.value, 1, self.allocate)

    def check(self, status):
        assert status == 0, status

    def allocate(self, size):
        memory = ctypes.c_void_p()
        self.check(self.runtime.cudaMalloc(ctypes.byref(memory), ctypes.c_size_t(max(size, 1))))
        self.lent.append(memory)
        return memory.value

    def copy(self, to, source, size, kind):
        self.check(self.runtime.cudaMemcpyAsync(ctypes.c_void_p(to), ctypes.c_void_p(source), ctypes.c_size_t(size), kind,
                                                self.stream))
        self.check(self.runtime.cudaStreamSynchronize(self.stream))

    def close(self):
        self.place = None  # it holds self.allocate
        for memory in self.lent:
            self.check(self.runtime.cudaFree(memory))
        self.check(self.runtime.cudaStreamDestroy(self.stream))


@pytest.fixture()
def gpu():
    found = None
    try:
        found = Gpu()
        kernels.bias_gelu_forward(found.place, "float32", x=0, bias=0, y=0, rows=0, cols=1)
    except (OSError, AssertionError, RuntimeError) as error:
        if found is not None:
            found.close()
        if os.environ.get("HH_TEST_DEVICES") == "cuda":
            raise
        pytest.skip(f"no GPU here: {error}")
    yield found
    found.close()


def both(gpu, kernel, types, arrays, **fields):
    """The arrays after the kernel on the CPU and on the GPU; it gets its own copies."""
    on_cpu = {name: array.copy() for name, array in arrays.items()}
    getattr(kernels, kernel)(CPU, *types, **{name: array.ctypes.data for name, array in on_cpu.items()}, **fields)
    device = {name: gpu.allocate(array.nbytes) for name, array in arrays.items()}
    for name, array in arrays.items():
        gpu.copy(device[name], array.ctypes.data, array.nbytes, 1)
    getattr(kernels, kernel)(gpu.place, *types, **device, **fields)
    on_gpu = {name: np.empty_like(array) for name, array in arrays.items()}
    for name, array in on_gpu.items():
        gpu.copy(array.ctypes.data, device[name], array.nbytes, 2)
    return on_cpu, on_gpu


def normal(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def empty(*shape, dtype=np.float32):
    return np.full(shape, 77, dtype)


@pytest.mark.parametrize("kernel, types, arrays, fields", [
    ("bias_gelu_forward", ["float32"], dict(x=normal(6, 40), bias=normal(40), y=empty(6, 40)), dict(rows=6, cols=40)),
    ("bias_gelu_backward", ["float32"],
     dict(x=normal(6, 40), bias=normal(40), dy=normal(6, 40, seed=2), dx=empty(6, 40), dbias=np.zeros(40, np.float32)),
     dict(rows=6, cols=40)),
    ("window_attention_forward", ["float32"], dict(qkv=normal(2, 9, 96), out=empty(2, 9, 32), lse=empty(2, 2, 9)),
     dict(windows=2, tokens=9, heads=2, head_dim=16)),
    ("interaction_merge_forward", ["float32"],
     dict(local=normal(1, 8, 8, 16), glob=normal(1, 4, 4, 16), gamma=normal(16), beta=normal(16), out=empty(1, 4, 4, 16),
          argmax=empty(1, 4, 4, 16, dtype=np.uint8), mean=empty(1, 8, 8), rstd=empty(1, 8, 8)),
     dict(images=1, grid=4, factor=2, channels=16, eps=1e-6)),
    ("wml_loss", ["float32"],
     dict(u=normal(3, 20), labels=np.arange(3)[:, None], bank=normal(30, 20), bank_labels=np.arange(30)[:, None] % 7,
          loss=empty(1), pairs=empty(2, dtype=np.int64), du=empty(3, 20)),
     dict(images=3, bank_rows=30, bits=20, label_words=1, alpha=0.5)),
    ("hamming_topk", [],
     dict(queries=np.random.default_rng(1).integers(0, 2**62, (3, 1)), database=np.random.default_rng(2).integers(0, 2**62, (90, 1)),
          rows=empty(3, 5, dtype=np.int64), distances=empty(3, 5, dtype=np.int32)),
     dict(query_count=3, row_count=90, k=5, bits=64)),
], ids=lambda value: value if isinstance(value, str) else "")
def test_same_as_on_the_cpu(gpu, kernel, types, arrays, fields):
    """Floats within 1e-5 of the largest (docs/specification.md, section 9), the rest exactly."""
    on_cpu, on_gpu = both(gpu, kernel, types, arrays, **fields)
    for name, wanted in on_cpu.items():
        if wanted.dtype == np.float32:
            assert np.abs(on_gpu[name] - wanted).max() <= 1e-5 * np.abs(wanted).max(), name
        else:
            assert (on_gpu[name] == wanted).all(), name

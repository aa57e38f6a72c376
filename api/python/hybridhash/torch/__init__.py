# SPDX-License-Identifier: Apache-2.0
"""HybridHash's kernels as PyTorch operators, and the network made of them.

    import hybridhash.torch as hht
    out = hht.window_attention(qkv, heads=4)              # differentiable, by our backward kernel
    net = hht.HybridHash.from_file("best.safetensors")    # an nn.Module with the file's weights
    loss = hht.wml_loss(net(pixels), labels, bank, bank_labels)

All are ``torch.library`` operators (``torch.ops.hybridhash.*``) with fake kernels: torch.compile keeps them whole,
fullgraph=True. Tensors are read and written where they lie; they must be contiguous, ValueError otherwise. Images are
channels-last, [B, h, w, C], and blocks [B, T, N, C]. On the CPU float32 and bfloat16 are computed, by
torch.get_num_threads() threads; on CUDA float16 too, on the current stream, by libhh_cuda.so, which only a build with
HH_CUDA=ON has (RuntimeError otherwise). Sums are float32. First derivatives only: there is no second one.
"""

from __future__ import annotations

try:
    import torch as _torch
except ImportError:
    raise ImportError("hybridhash.torch needs PyTorch: pip install torch") from None

if tuple(int(part) for part in _torch.__version__.split("+")[0].split(".")[:2]) < (2, 6):
    raise ImportError(f"hybridhash.torch needs PyTorch 2.6 or newer; this is {_torch.__version__}")

from ._ops import (bias_gelu, blockify_layer_norm, deblockify_residual, hamming_topk, interaction_merge, pack_bits,
                   residual_layer_norm, window_attention, wml_loss)
from ._network import HybridHash

__all__ = ["HybridHash", "bias_gelu", "blockify_layer_norm", "deblockify_residual", "hamming_topk", "interaction_merge",
           "pack_bits", "residual_layer_norm", "window_attention", "wml_loss"]

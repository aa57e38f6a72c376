// SPDX-License-Identifier: Apache-2.0
// Attention inside windows. What holds for all ops: linear.h.
#pragma once
#include "engine/tensor/tensor.h"

namespace hh {

/// qkv [..., N, 3*H*d] -> [..., N, H*d], for N tokens and H heads. attention/window_attention.h
Tensor window_attention(const Tensor& qkv, int tokens, int heads);

}  // namespace hh

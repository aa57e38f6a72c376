// SPDX-License-Identifier: Apache-2.0
// From the last level's features to codes. What holds for all ops: linear.h.
#pragma once
#include "engine/tensor/parameter.h"
#include "engine/tensor/tensor.h"

namespace hh {

/// local [B, s, s, C], glob [B, 1, 1, C] -> pooled [B, C]. hash/hash_pool.h
Tensor hash_pool(const Tensor& local, const Tensor& glob);

/// Logits and tanh, both f32 [B, K]. Gradients flow through `code` only. hash/hash_head.h
struct HashCode {
  Tensor logits;
  Tensor code;
};
/// pooled [B, C], weight [K, C], bias [K].
HashCode hash_head(const Tensor& pooled, const Parameter& weight, const Parameter& bias);

}  // namespace hh

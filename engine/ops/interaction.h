// SPDX-License-Identifier: Apache-2.0
// Between two levels: block tokens, and the merge of local and global. What holds for all ops:
// linear.h.
#pragma once
#include "engine/ops/layer_norm.h"
#include "engine/tensor/parameter.h"
#include "engine/tensor/tensor.h"

namespace hh {

/// x [B, g*s, g*s, C] -> [B, g, g, C]. interaction/block_average_pool.h
Tensor block_average_pool(const Tensor& x, int grid);

/// z [B, m, m, C], pos [M, C] -> tokens [B, M, C], M = m^2. interaction/interaction_tokens.h
Tensor interaction_tokens(const Tensor& z, const Parameter& pos);

/// local [B, h, h, C], glob [B, m, m, C] -> [B, h/2, h/2, C]. interaction/interaction_merge.h
Tensor interaction_merge(const Tensor& local, const Tensor& glob, const NormParameters& norm);

}  // namespace hh

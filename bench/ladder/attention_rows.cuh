// SPDX-License-Identifier: Apache-2.0
// Where the rows of one head of one window are, for all rungs.
#pragma once
#include "bench/ladder/rung.h"
#include "kernels/core/launch.cuh"
#include "kernels/core/mma.cuh"

namespace hh::ladder {

constexpr int kHeadDim = 32;

struct AttentionHead {
  /// Of instance window * heads + head.
  __device__ AttentionHead(const WindowAttentionShape& s, std::int64_t instance)
      : shape(s), window(instance / s.heads), head(int(instance % s.heads)) {}
  __device__ int channels() const { return shape.heads * kHeadDim; }
  __device__ std::int64_t row(int token) const { return window * shape.tokens + token; }
  /// q of a token; k is channels() further, v twice that.
  __device__ std::int64_t q(int token) const {
    return row(token) * 3 * channels() + head * kHeadDim;
  }
  __device__ std::int64_t out(int token, int e) const {
    return row(token) * channels() + e * shape.heads + head;
  }
  __device__ std::int64_t lse(int token) const {
    return (window * shape.heads + head) * shape.tokens + token;
  }

  const WindowAttentionShape& shape;
  std::int64_t window;
  int head;
};

inline std::int64_t attention_instances(const Attention& p) {
  return p.shape.windows * p.shape.heads;
}

}  // namespace hh::ladder

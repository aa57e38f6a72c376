// SPDX-License-Identifier: Apache-2.0
// How a wide product is cut into blocks. Private to wide_product.cpp.
#pragma once
#include <algorithm>
#include <cstdint>

#include "kernels/gemm/wide_product.h"

namespace hh::cpu {

/// Terms first .. first + count of the sums, which b is packed by.
struct DepthPart {
  std::int64_t first, count;
};

/// The columns of b, in panels of at most `most` vectors of `lanes` columns, as even as possible, as
/// in_even_parts() of small_product-inl.h cuts them. The last one's columns past n are
/// zeros.
struct Panels {
  Panels(std::int64_t n, std::int64_t lanes_in, std::int64_t most)
      : lanes(lanes_in), vectors((n + lanes - 1) / lanes), count((vectors + most - 1) / most) {}
  std::int64_t column(std::int64_t i) const {
    return lanes * (i * (vectors / count) + std::min(i, vectors % count));
  }
  std::int64_t width(std::int64_t i) const { return column(i + 1) - column(i); }
  std::int64_t lanes, vectors, count;
};

}  // namespace hh::cpu

// SPDX-License-Identifier: Apache-2.0
// Into how many pieces threads share out a product or a convolution. Private to the CPU kernels.
#pragma once
#include <algorithm>
#include <cstdint>

#include "kernels/core/parallel.h"

namespace hh::cpu {

/// At most so many: a thread that is put aside keeps one waiting, not its whole share.
inline std::int64_t most_pieces() {
  const std::int64_t threads = num_threads();
  return threads == 1 ? 1 : 4 * threads;
}

/// How many of `most` pieces are worth having.
inline std::int64_t pieces_worth(double multiplications, std::int64_t most) {
  constexpr double kLeastPiece = 2e6;  // multiplications; about 20 us
  return std::int64_t(std::clamp(multiplications / kLeastPiece, 1.0, double(most)));
}

}  // namespace hh::cpu

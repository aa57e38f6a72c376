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

inline std::int64_t parts_of(std::int64_t n, std::int64_t each) { return (n + each - 1) / each; }

/// How many of `most` pieces are worth having.
inline std::int64_t pieces_worth(double multiplications, std::int64_t most) {
  constexpr double kLeastPiece = 2e6;  // multiplications; about 20 us
  return std::int64_t(std::clamp(multiplications / kLeastPiece, 1.0, double(most)));
}

/// How an m x n result with sums of k terms is cut into pieces: equal ones, but for the last row and
/// column of pieces. Depends on the sizes and num_threads() alone.
struct Pieces {
  struct Piece {
    std::int64_t row, rows, column, columns;
  };
  struct Grain {
    std::int64_t rows, columns;  // pieces are multiples of
    double copy_a, copy_b;       // of an operand's element, in multiplications
    bool whole_rows = false;     // pieces are as wide as the result
  };
  Pieces(std::int64_t m, std::int64_t n, std::int64_t k, const Grain& grain);
  std::int64_t count() const { return down * across; }
  Piece operator[](std::int64_t i) const {
    const std::int64_t row = i / across * height, column = i % across * width;
    return {row, std::min(height, m - row), column, std::min(width, n - column)};
  }
  std::int64_t m, n;
  std::int64_t height, width;  // of a piece
  std::int64_t down, across;   // pieces
};

}  // namespace hh::cpu

// SPDX-License-Identifier: Apache-2.0
// How rows are cut into chunks for sums over rows, such as the gradient of a bias: by the sizes
// alone, so that the sums don't depend on the number of threads.
#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace hh::cpu {

struct RowChunks {
  std::int64_t rows = 0;
  std::int64_t count = 0;  // a power of two (0 without rows), for even shares of 2, 4, 8 threads

  RowChunks(std::int64_t rows_in, std::int64_t cols) : rows(rows_in) {
    // A chunk costs a pass over its partial sums: it should have many rows. 64 is more than the
    // threads that memory-bound work can use. Both are guesses.
    constexpr std::int64_t kMost = 64, kElements = 16384;
    const std::int64_t most = std::min(rows * cols / kElements, kMost);
    if (rows > 0)
      count = std::int64_t(std::bit_floor(std::uint64_t(std::clamp<std::int64_t>(most, 1, rows))));
  }
  std::int64_t begin(std::int64_t chunk) const { return rows * chunk / count; }
  std::int64_t end(std::int64_t chunk) const { return begin(chunk + 1); }
};

/// Floats between the partial sums of two chunks: a whole number of cache lines, so that threads
/// don't share any.
inline std::size_t partial_pitch(std::size_t floats) { return (floats + 15) / 16 * 16; }

}  // namespace hh::cpu

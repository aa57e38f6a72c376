// SPDX-License-Identifier: Apache-2.0
// Sums over rows, such as the gradient of a bias: cut into chunks by the sizes alone, so that they
// don't depend on the number of threads, and the chunks' sums added up in order.
#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "kernels/core/parallel.h"

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

/// The chunks' sums, `floats` of them each, in a workspace.
class ChunkSums {
 public:
  ChunkSums(RowChunks chunks, std::int64_t floats)
      : chunks_(chunks), pitch_((std::size_t(floats) + 15) / 16 * 16) {}

  std::size_t workspace_bytes() const {
    return std::size_t(chunks_.count) * pitch_ * sizeof(float);
  }

  /// body(begin, end, sums) for each chunk's rows; it sets all its sums.
  template <class Body>
  void for_each(void* workspace, Body&& body) {
    sums_ = static_cast<float*>(workspace);
    parallel_chunks(chunks_.count, [&](std::int64_t i) {
      body(chunks_.begin(i), chunks_.end(i), sums_ + std::size_t(i) * pitch_);
    });
  }

  /// to[0, cols) += the sums [first, first + cols) of all chunks.
  void add_to(float* to, std::int64_t first, std::int64_t cols) const;

 private:
  RowChunks chunks_;
  std::size_t pitch_;  // floats between two chunks: whole cache lines, so that threads share none
  float* sums_ = nullptr;
};

}  // namespace hh::cpu

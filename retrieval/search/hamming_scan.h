// SPDX-License-Identifier: Apache-2.0
// Exact search by Hamming distance: scan every code. Results are ordered by distance, then by row,
// so they are one and the same for any machine and number of threads (cpu::set_num_threads).
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "engine/device/device.h"
#include "engine/tensor/tensor.h"
#include "retrieval/codes/codes.h"
#include "retrieval/codes/row_mask.h"

namespace hh::retrieval {

/// The k nearest rows of each query.
struct TopkResult {
  std::int64_t queries = 0, k = 0;
  std::vector<std::int64_t> rows;       // [queries, k], nearest first; -1 where there are fewer
  std::vector<std::int32_t> distances;  // [queries, k]; -1 where there are fewer

  std::span<const std::int64_t> rows_of(std::int64_t query) const {
    return std::span(rows).subspan(std::size_t(query * k), std::size_t(k));
  }
  std::span<const std::int32_t> distances_of(std::int64_t query) const {
    return std::span(distances).subspan(std::size_t(query * k), std::size_t(k));
  }
};

/// All rows within a radius of each query.
struct RadiusResult {
  std::vector<std::int64_t> offsets;  // [queries + 1]; query q has entries offsets[q]..[q + 1]
  std::vector<std::int64_t> rows;     // nearest first
  std::vector<std::int32_t> distances;

  std::int64_t queries() const { return std::int64_t(offsets.size()) - 1; }
  std::span<const std::int64_t> rows_of(std::int64_t query) const;
  std::span<const std::int32_t> distances_of(std::int64_t query) const;
};

/// Throws std::invalid_argument when widths or the size of the mask don't fit.
void check_search(CodesView database, CodesView queries, const RowMask* allowed);

/// A database ready to be scanned on a device.
class HammingScan {
 public:
  static constexpr std::int64_t kAllRows = INT64_MAX;

  /// Keeps the view, whose memory must outlive it. A GPU gets a copy, or where it has no room for
  /// one, or `most_rows` are fewer, that many rows by turns in each search, with the same results.
  /// Throws OutOfMemory where not even some have room.
  explicit HammingScan(CodesView database, Device device = kCpu, std::int64_t most_rows = kAllRows);

  /// k >= 1. `allowed`: only these rows (null: all); its size must be the database's.
  /// Throws std::invalid_argument.
  TopkResult topk(CodesView queries, std::int64_t k, const RowMask* allowed = nullptr) const;
  /// Rows at distance <= radius, radius >= 0.
  RadiusResult radius(CodesView queries, int radius, const RowMask* allowed = nullptr) const;

  CodesView database() const { return database_; }
  /// On the device at once.
  std::int64_t rows_at_once() const { return rows_at_once_; }

 private:
  /// Some of the rows, on the device.
  struct Piece {
    std::int64_t first, count;
    const std::uint64_t *codes, *allowed;  // of these rows; allowed is null for all
  };
  /// f(piece) for all of them in order; one without rows where there are none. `allowed`: of all
  /// rows, on the device.
  template <class F>
  void for_each_piece(const std::uint64_t* allowed, const F& f) const;
  TopkResult topk_of(const Piece& piece, const std::uint64_t* queries, std::int64_t count,
                     std::int64_t k) const;
  RadiusResult radius_of(const Piece& piece, const std::uint64_t* queries, std::int64_t count,
                         int radius) const;

  CodesView database_;
  Device device_;
  std::int64_t rows_at_once_;          // a multiple of 64, unless it is all
  Tensor copy_;                        // of the codes, or room for some, on a GPU
  std::unique_ptr<std::mutex> turns_;  // of those that use the room; null: all are there
};

}  // namespace hh::retrieval

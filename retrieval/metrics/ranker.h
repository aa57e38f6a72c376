// SPDX-License-Identifier: Apache-2.0
// Ranks queries against a database on a device, some at a time: the first half of an evaluation.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "engine/device/device.h"
#include "engine/tensor/tensor.h"
#include "kernels/hamming/hamming_average_precision.h"
#include "retrieval/metrics/average_precision.h"
#include "retrieval/metrics/metrics.h"

namespace hh::retrieval {

/// What hamming_average_precision.h says of some queries.
struct RankedBatch {
  std::int64_t count = 0;
  int bits = 0;
  std::int64_t depth = 0;
  std::vector<double> ap;                         // [count] ties by row
  std::vector<std::int64_t> hits;                 // [count] within the cut
  std::vector<std::int32_t> retrieved, relevant;  // [count, bits + 1], uint32 in fact
  std::vector<std::uint64_t> ranking;             // [count, ceil(depth / 64)]

  DistanceCounts counts(std::int64_t query) const;
  /// One bit a rank: whether the item there is relevant.
  std::span<const std::uint64_t> ranking_of(std::int64_t query) const;
};

class Ranker {
 public:
  /// `cut` ranks count for AP; rankings are `depth` ranks long. The codes and labels must outlive
  /// the Ranker.
  Ranker(const LabelledCodes& queries, const LabelledCodes& database, std::int64_t cut,
         std::int64_t depth, Device device);

  RankedBatch rank(std::int64_t begin, std::int64_t count) const;

 private:
  /// The words on the device.
  const std::uint64_t* place(const std::uint64_t* words, std::int64_t count);

  Device device_;
  int query_words_, label_words_;
  std::vector<Tensor> copies_;    // on a GPU
  HammingAveragePrecision args_;  // but for the queries
  const std::uint64_t* query_codes_;
  const std::uint64_t* query_labels_;
};

}  // namespace hh::retrieval

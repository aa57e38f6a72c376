// SPDX-License-Identifier: Apache-2.0
// How hamming_topk's work is cut on a GPU, from the sizes alone: rounds of as many queries as the
// scratch memory holds, and chunks of the database so many that these queries fill the GPU.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/hamming/hamming_topk.h"

namespace hh::gpu {

struct TopkCut {
  static constexpr std::int64_t kRunRows = 1024;  // 32 groups of 32, whose marks are a word
  // Warps of a round: a large GPU's multiprocessors hold 64 each.
  static constexpr std::int64_t kWantedWarps = 8192;
  static constexpr std::int64_t kFewestChunks = 16;
  static constexpr std::int64_t kManyChunks = 2048;  // their counts are added up by one block
  static constexpr std::int64_t kMostSamples = 64, kRunsPerSample = 16;  // runs; at least
  static constexpr int kBlockWarps = 4;
  static constexpr int kTensorQueries = 64;  // that a block takes to tensor cores
  // A chunk's rows are counted in 32 bits.
  static constexpr std::int64_t kMostRows = kFewestChunks << 31;

  /// In the registers of a warp; more of them would spill.
  static constexpr int queries_of_warp(int words, bool one) {
    return one ? 1 : words <= 2 ? 8 : words <= 4 ? 4 : 2;
  }
  /// Of a round's scratch memory: a large database's marks take a 256th of it for each query of 64
  /// bits, and each round reads it again.
  static constexpr std::int64_t bytes_of_round(std::int64_t database_bytes) {
    constexpr std::int64_t kLeast = std::int64_t{64} << 20, kMost = std::int64_t{512} << 20;
    return std::clamp(database_bytes / 16, kLeast, kMost);
  }

  explicit TopkCut(const HammingTopk& p) {
    HH_PRECONDITION(
        p.row_count <= kMostRows,
        "hamming_topk: row_count = " << p.row_count << " of at most " << kMostRows << " on a GPU");
    HH_PRECONDITION(p.k <= kMostResults,
                    "hamming_topk: k = " << p.k << " of at most " << kMostResults << " on a GPU");
    const std::int64_t words = (p.bits + 63) / 64, distances = p.bits + 1;
    const bool one = p.query_count == 1;
    tensor = words == 1 && p.query_count >= kTensorQueries;
    warps_of_chunk = one || tensor ? kBlockWarps : 1;
    const std::int64_t each = tensor ? kTensorQueries : queries_of_warp(int(words), one);
    const std::int64_t all = std::max<std::int64_t>(p.query_count, 1);
    runs = divide(p.row_count, kRunRows);
    // 4 bytes for each: of a query at the fewest chunks, and of all counts at more.
    const std::int64_t of_query = 4 * (distances * (kFewestChunks + 1) + runs + 1);
    const std::int64_t of_counts = 4 * kWantedWarps / warps_of_chunk * each * distances;
    const std::int64_t bytes = bytes_of_round(p.row_count * words * 8);
    queries = std::clamp<std::int64_t>((bytes - of_counts) / of_query, 1, all);
    const std::int64_t rest = queries % each;
    // Tensor cores take a half of what a block can for no more than all of it.
    if (queries < all && queries > each && !(tensor && rest >= each / 2)) queries -= rest;
    const std::int64_t groups = divide(queries, each);
    const std::int64_t wanted = std::clamp(kWantedWarps / warps_of_chunk / groups, kFewestChunks,
                                           kManyChunks / warps_of_chunk);
    runs_per_chunk = std::max<std::int64_t>(divide(runs, wanted), 1);
    chunks = divide(runs, runs_per_chunk);
    samples = std::min(runs / kRunsPerSample, kMostSamples);
  }

  /// Places from here on are all the same: none of them is one of the k.
  static constexpr std::int64_t kMostResults = 0xffff0000;

  bool tensor;           // a block has a chunk and kTensorQueries, else
  int warps_of_chunk;    // a block (4) or a warp (1) has a chunk and a few queries
  std::int64_t queries;  // of a round
  std::int64_t runs, runs_per_chunk, chunks;
  std::int64_t samples;  // runs

 private:
  static constexpr std::int64_t divide(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
};

}  // namespace hh::gpu

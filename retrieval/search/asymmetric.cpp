// SPDX-License-Identifier: Apache-2.0
#include "retrieval/search/asymmetric.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "kernels/core/check.h"
#include "kernels/core/parallel.h"

namespace hh::retrieval {
namespace {

constexpr std::int64_t kTileRows = 2048;  // stay in L1 or L2 while a query passes over them

/// The k nearest so far, farthest first: a heap, because real distances can't be counted.
class Nearest {
 public:
  explicit Nearest(std::int64_t k) : k_(std::size_t(k)) {}

  /// Only what is nearer than this is worth adding.
  float bound() const {
    return entries_.size() < k_ ? std::numeric_limits<float>::infinity() : entries_.front().first;
  }
  /// Rows come in ascending order, so of equals the first stays.
  void add(float distance, std::int64_t row) {
    if (entries_.size() == k_) {
      std::pop_heap(entries_.begin(), entries_.end());
      entries_.pop_back();
    }
    entries_.emplace_back(distance, row);
    std::push_heap(entries_.begin(), entries_.end());
  }
  std::vector<std::pair<float, std::int64_t>> sorted() && {
    std::sort_heap(entries_.begin(), entries_.end());
    return std::move(entries_);
  }

 private:
  std::size_t k_;
  std::vector<std::pair<float, std::int64_t>> entries_;
};

/// What each value of each byte of a code adds to the distance: [bytes][256].
std::vector<float> byte_tables(const float* query, int bits) {
  const int bytes = (bits + 7) / 8;
  std::vector<float> tables(std::size_t(bytes) * 256);
  for (int byte = 0; byte < bytes; ++byte) {
    for (unsigned value = 0; value < 256; ++value) {
      float sum = 0;
      for (int j = 0; j < std::min(8, bits - byte * 8); ++j) {
        const float u = query[byte * 8 + j];
        if ((u > 0) != bool(value >> j & 1)) sum += std::abs(u);
      }
      tables[std::size_t(byte) * 256 + value] = sum;
    }
  }
  return tables;
}

float distance(const std::vector<float>& tables, std::span<const std::uint64_t> row, int bytes) {
  float sum = 0;
  for (int byte = 0; byte < bytes; ++byte) {
    sum += tables[std::size_t(byte) * 256 + (row[std::size_t(byte / 8)] >> (byte % 8 * 8) & 255)];
  }
  return sum;
}

RealResult empty_result(std::int64_t queries, std::int64_t k) {
  const auto n = std::size_t(queries * k);
  return {queries, k, std::vector<std::int64_t>(n, -1), std::vector<float>(n, NAN)};
}

void store(const std::vector<std::pair<float, std::int64_t>>& entries, std::int64_t query,
           RealResult& result) {
  for (std::size_t i = 0; i < entries.size(); ++i) {
    result.distances[std::size_t(query * result.k) + i] = entries[i].first;
    result.rows[std::size_t(query * result.k) + i] = entries[i].second;
  }
}

}  // namespace

RealResult asymmetric_topk(CodesView database, std::span<const float> queries, std::int64_t k,
                           const RowMask* allowed) {
  check_bits(database.bits);
  const auto bits = std::size_t(database.bits);
  HH_REQUIRE(k >= 1, "k = " << k << ": ask for at least one result");
  HH_PRECONDITION(queries.size() % bits == 0,
                  queries.size() << " values aren't queries of " << bits << " bits");
  HH_PRECONDITION(allowed == nullptr || allowed->rows() == database.count,
                  "a mask of " << allowed->rows() << " rows for a database of " << database.count);
  HH_REQUIRE(std::all_of(queries.begin(), queries.end(), [](float v) { return std::isfinite(v); }),
             "a query has an output that isn't finite: encode it again, with a model whose "
             "training didn't diverge");
  const auto count = std::int64_t(queries.size() / bits);
  RealResult result = empty_result(count, k);
  cpu::parallel_for(count, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::vector<float>> tables;
    std::vector<Nearest> nearest;
    for (std::int64_t q = begin; q < end; ++q) {
      tables.push_back(byte_tables(queries.data() + std::size_t(q) * bits, database.bits));
      nearest.emplace_back(k);
    }
    for (std::int64_t first = 0; first < database.count; first += kTileRows) {
      const std::int64_t last = std::min(first + kTileRows, database.count);
      for (std::size_t q = 0; q < nearest.size(); ++q) {
        for (std::int64_t row = first; row < last; ++row) {
          if (allowed != nullptr && !allowed->test(row)) continue;
          const float d = distance(tables[q], database.row(row), database.row_bytes());
          if (d < nearest[q].bound()) nearest[q].add(d, row);
        }
      }
    }
    for (std::int64_t q = begin; q < end; ++q) {
      store(std::move(nearest[std::size_t(q - begin)]).sorted(), q, result);
    }
  });
  return result;
}

RealResult rerank(const TopkResult& candidates, std::span<const float> queries,
                  std::span<const float> database_outputs, int bits, std::int64_t k) {
  check_bits(bits);
  const auto width = std::size_t(bits);
  HH_REQUIRE(k >= 1, "k = " << k << ": ask for at least one result");
  HH_PRECONDITION(
      queries.size() == std::size_t(candidates.queries) * width,
      queries.size() << " values for " << candidates.queries << " queries of " << bits << " bits");
  RealResult result = empty_result(candidates.queries, k);
  cpu::parallel_for(candidates.queries, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t q = begin; q < end; ++q) {
      const float* query = queries.data() + std::size_t(q) * width;
      std::vector<std::pair<float, std::int64_t>> entries;
      for (const std::int64_t row : candidates.rows_of(q)) {
        if (row < 0) break;
        HH_PRECONDITION((std::size_t(row) + 1) * width <= database_outputs.size(),
                        "row " << row << " has no outputs to re-rank by");
        const float* other = database_outputs.data() + std::size_t(row) * width;
        float sum = 0;
        for (std::size_t j = 0; j < width; ++j)
          sum += (query[j] - other[j]) * (query[j] - other[j]);
        // What isn't a number couldn't be put in order.
        if (std::isnan(sum)) sum = std::numeric_limits<float>::infinity();
        entries.emplace_back(sum, row);
      }
      std::sort(entries.begin(), entries.end());
      if (std::int64_t(entries.size()) > k) entries.resize(std::size_t(k));
      store(entries, q, result);
    }
  });
  return result;
}

}  // namespace hh::retrieval

// SPDX-License-Identifier: Apache-2.0
// Traffic   Codes and labels are transposed to blocks of 64 rows once a call, and then read once
//           per kTogether queries, which leave 2 bytes a row behind for the second pass.
// Numerics  The sum of AP runs in order of ranks, in float64.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/hamming/hamming_average_precision_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per target.
#include <algorithm>

#include "kernels/core/check_workspace.h"
#include "kernels/core/parallel.h"
#include "kernels/core/workspace.h"
#include "kernels/hamming/hamming_average_precision.h"
#include "kernels/hamming/scan_words-inl.h"

namespace hh::cpu {
#ifndef HH_KERNELS_HAMMING_AVERAGE_PRECISION_KEYS_
#define HH_KERNELS_HAMMING_AVERAGE_PRECISION_KEYS_
/// What the first pass works on.
struct KeyArrays {
  const std::uint64_t* codes = nullptr;         // [blocks][words][64]
  const std::uint64_t* labels = nullptr;        // [blocks][label_words][64]
  const std::uint64_t* query = nullptr;         // [words]
  const std::uint64_t* query_labels = nullptr;  // [label_words]
  int words = 1, label_words = 1;
};
#endif
}  // namespace hh::cpu

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

/// keys[r] = 2 * distance + (1 if relevant) for all rows of blocks [begin, end).
template <int W>
void write_keys(const KeyArrays& a, std::int64_t begin, std::int64_t end, std::uint16_t* keys) {
  const WordTag d;
  const hn::Rebind<std::uint16_t, WordTag> d16;
  const BroadcastQuery<W> query(a.query);
  const auto one = hn::Set(d, 1), zero = hn::Zero(d);
  for (std::int64_t b = begin; b < end; ++b) {
    const std::uint64_t* block = a.codes + b * W * kBlockRows;
    const std::uint64_t* labels = a.labels + b * a.label_words * kBlockRows;
    for (std::size_t r = 0; r < kRows; r += hn::Lanes(d)) {
      auto common = zero;
      for (int l = 0; l < a.label_words; ++l) {
        const auto row = hn::LoadU(d, labels + l * kBlockRows + r);
        common = hn::Or(common, hn::And(row, hn::Set(d, a.query_labels[l])));
      }
      const auto distance = row_distances(query, block, r);
      const auto relevant = hn::IfThenElse(hn::Eq(common, zero), zero, one);
      const auto key = hn::Add(hn::Add(distance, distance), relevant);
      hn::StoreU(hn::TruncateTo(d16, key), d16, keys + b * kBlockRows + std::int64_t(r));
    }
  }
}

void write_block_keys(const KeyArrays& a, std::int64_t begin, std::int64_t end,
                      std::uint16_t* keys) {
  constexpr decltype(&write_keys<1>) kByWords[] = {write_keys<1>, write_keys<2>, write_keys<3>,
                                                   write_keys<4>, write_keys<5>, write_keys<6>,
                                                   write_keys<7>, write_keys<8>};
  kByWords[a.words - 1](a, begin, end, keys);
}

/// Which of 64 keys are at most `limit`, key i in bit i.
std::uint64_t keys_up_to(const std::uint16_t* keys, std::uint16_t limit) {
  const hn::ScalableTag<std::uint16_t> d;
  const std::size_t lanes = hn::Lanes(d);
  std::uint64_t mask = 0;
  for (std::size_t r = 0; r < kRows; r += lanes) {
    const auto v = hn::LoadU(d, keys + r);
    std::uint8_t bits[8] = {};
    hn::StoreMaskBits(d, hn::Eq(hn::Min(v, hn::Set(d, limit)), v), bits);
    for (std::size_t i = 0; i < (lanes + 7) / 8; ++i) {
      mask |= std::uint64_t{bits[i]} << (r + 8 * i);
    }
  }
  return mask;
}

/// Puts relevant rows in their places: bit rank - 1 of `ranking`, ranks up to `depth`. next[d]:
/// rows ranked before the next one at distance d. Rows at more than `farthest` are past the depth.
void place(const std::uint16_t* keys, std::int64_t rows, int farthest, std::int64_t depth,
           std::uint32_t* next, std::uint64_t* ranking) {
  const auto limit = std::uint16_t(2 * farthest + 1);
  for (std::int64_t first = 0; first < rows; first += kBlockRows) {
    std::uint64_t near = keys_up_to(keys + first, limit);
    if (rows - first < kBlockRows) near &= (std::uint64_t{1} << (rows - first)) - 1;
    for (; near != 0; near &= near - 1) {
      const std::uint16_t key = keys[first + std::countr_zero(near)];
      const std::int64_t rank = next[key >> 1]++;
      if (rank < depth) ranking[rank / 64] |= std::uint64_t(key & 1) << (rank % 64);
    }
  }
}

}  // namespace
}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hh::cpu {
namespace {

HWY_EXPORT(write_block_keys);
HWY_EXPORT(place);

constexpr std::int64_t kTogether = 4;     // queries that share a pass over codes and labels
constexpr std::int64_t kPassBlocks = 16;  // blocks at a time, so that they stay in L1
// Pairs that are worth a thread: about 0.3 ms, as little as one may come late.
constexpr std::int64_t kMinPairsApart = 1 << 18;
constexpr int kKeys = 2 * (HammingAveragePrecision::kMaxBits + 1);

/// How a call is cut up.
struct Plan {
  explicit Plan(const HammingAveragePrecision& p)
      : words((p.bits + 63) / 64),
        blocks((p.row_count + kBlockRows - 1) / kBlockRows),
        depth(std::max(p.cut, p.depth)),
        workers(std::clamp(
            p.query_count * p.row_count / kMinPairsApart, std::int64_t{1},
            std::min<std::int64_t>(num_threads(), (p.query_count + kTogether - 1) / kTogether))) {}
  int words;
  std::int64_t blocks, depth, workers;
};

/// The workspace: the transposed database, then for each worker keys and a ranking.
struct Scratch {
  Scratch(const HammingAveragePrecision& p, const Plan& plan, Workspace workspace) {
    codes = workspace.take<std::uint64_t>(plan.blocks * kBlockRows * plan.words);
    labels = workspace.take<std::uint64_t>(plan.blocks * kBlockRows * p.label_words);
    workers = workspace.rest();
    before_workers = workspace.bytes();
  }
  std::uint64_t *codes, *labels;
  void* workers;
  std::size_t before_workers;  // bytes
};
struct WorkerScratch {
  WorkerScratch(const Plan& plan, Workspace workspace) {
    for (auto& k : keys) k = workspace.take<std::uint16_t>(plan.blocks * kBlockRows);
    ranking = workspace.take<std::uint64_t>((plan.depth + 63) / 64);
    bytes = workspace.bytes();
  }
  std::uint16_t* keys[kTogether];
  std::uint64_t* ranking;
  std::size_t bytes;
};

/// Counts the keys. Four tables in turn, because equal keys in a row would wait for each other.
void count_keys(const std::uint16_t* keys, std::int64_t rows, int bits, std::uint32_t* retrieved,
                std::uint32_t* relevant) {
  std::uint32_t counts[4][kKeys];
  for (auto& table : counts) std::fill_n(table, 2 * (bits + 1), 0);
  std::int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    for (int i = 0; i < 4; ++i) ++counts[i][keys[r + i]];
  }
  for (; r < rows; ++r) ++counts[0][keys[r]];
  for (int d = 0; d <= bits; ++d) {
    std::uint32_t other = 0, hit = 0;
    for (const auto& table : counts) {
      other += table[2 * d];
      hit += table[2 * d + 1];
    }
    retrieved[d] = other + hit;
    relevant[d] = hit;
  }
}

/// From the keys of one query to its results.
void finish_query(const HammingAveragePrecision& p, const Plan& plan, std::int64_t q,
                  const std::uint16_t* keys, std::uint64_t* ranking) {
  std::uint32_t* retrieved = p.retrieved + q * (p.bits + 1);
  count_keys(keys, p.row_count, p.bits, retrieved, p.relevant + q * (p.bits + 1));
  std::uint32_t next[HammingAveragePrecision::kMaxBits + 1];
  std::int64_t before = 0;
  int farthest = 0;
  for (int d = 0; d <= p.bits; ++d) {
    if (before < plan.depth) farthest = d;
    next[d] = std::uint32_t(before);
    before += retrieved[d];
  }
  const std::int64_t words = (plan.depth + 63) / 64;
  std::fill_n(ranking, words, 0);
  HWY_DYNAMIC_DISPATCH(place)(keys, p.row_count, farthest, plan.depth, next, ranking);

  double sum = 0;
  std::int64_t hits = 0;
  for (std::int64_t w = 0; w * 64 < p.cut; ++w) {
    std::uint64_t word = ranking[w];
    if (p.cut - w * 64 < 64) word &= (std::uint64_t{1} << (p.cut - w * 64)) - 1;
    for (; word != 0; word &= word - 1) {
      sum += double(++hits) / double(w * 64 + std::countr_zero(word) + 1);
    }
  }
  p.ap[q] = hits == 0 ? 0 : sum / double(hits);
  p.hits[q] = hits;
  if (p.depth == 0) return;
  const std::int64_t shown = (p.depth + 63) / 64;
  std::uint64_t* out = p.ranking + q * shown;
  std::copy_n(ranking, shown, out);
  if (p.depth % 64 != 0) out[shown - 1] &= (std::uint64_t{1} << (p.depth % 64)) - 1;
}

}  // namespace

std::size_t workspace_bytes(const HammingAveragePrecision& p) {
  if (p.query_count == 0) return 0;
  const Plan plan(p);
  return Scratch(p, plan, Workspace(nullptr)).before_workers +
         std::size_t(plan.workers) * WorkerScratch(plan, Workspace(nullptr)).bytes;
}

void run(const HammingAveragePrecision& p) {
  p.validate();
  HH_REQUIRE_WORKSPACE(p);
  if (p.query_count == 0) return;
  const Plan plan(p);
  const Scratch scratch(p, plan, Workspace(p.workspace));
  const std::size_t each = WorkerScratch(plan, Workspace(nullptr)).bytes;
  constexpr std::int64_t kGrain = 2048;  // blocks per thread; a guess: a tenth of a millisecond
  parallel_for(plan.blocks, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      const std::int64_t row = b * kBlockRows, rows = std::min(kBlockRows, p.row_count - row);
      word_block(p.database + row * plan.words, rows, plan.words,
                 scratch.codes + b * plan.words * kBlockRows);
      word_block(p.row_labels + row * p.label_words, rows, p.label_words,
                 scratch.labels + b * p.label_words * kBlockRows);
    }
  });
  parallel_chunks(plan.workers, [&](std::int64_t worker) {
    const WorkerScratch own(plan, Workspace::piece(scratch.workers, worker, each));
    const std::int64_t end = p.query_count * (worker + 1) / plan.workers;
    for (std::int64_t q = p.query_count * worker / plan.workers; q < end; q += kTogether) {
      const std::int64_t together = std::min(kTogether, end - q);
      for (std::int64_t b = 0; b < plan.blocks; b += kPassBlocks) {
        for (std::int64_t i = 0; i < together; ++i) {
          const KeyArrays arrays{scratch.codes,
                                 scratch.labels,
                                 p.queries + (q + i) * plan.words,
                                 p.query_labels + (q + i) * p.label_words,
                                 plan.words,
                                 p.label_words};
          HWY_DYNAMIC_DISPATCH(write_block_keys)
          (arrays, b, std::min(b + kPassBlocks, plan.blocks), own.keys[i]);
        }
      }
      for (std::int64_t i = 0; i < together; ++i)
        finish_query(p, plan, q + i, own.keys[i], own.ranking);
    }
  });
}

}  // namespace hh::cpu
#endif

// SPDX-License-Identifier: Apache-2.0
// Traffic   The database is read once per group of up to 256 queries, a tile at a time; per tile
//           the queries of the group pass over what is in L1. What a query touches besides is a few
//           cache lines of its Selection, and those only where a row is near enough.
// Threads   Many queries: each thread has its share of them. Few: each thread scans a stretch of
//           the rows for all of them, and the selections are joined in order of rows.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/hamming/hamming_topk_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per target.
#include <memory>

#include "kernels/core/check_workspace.h"
#include "kernels/core/parallel.h"
#include "kernels/core/workspace.h"
#include "kernels/hamming/hamming_topk.h"
#include "kernels/hamming/scan-inl.h"
#include "kernels/hamming/selection.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

void scan_topk(const ScanRows& s, Selection* selections) {
  scan_rows(
      s, [&](std::int64_t q) -> const int& { return selections[q].bound(); },
      [&](std::int64_t q, std::int64_t row, int distance) { selections[q].add(distance, row); });
}

bool prefers_nibbles() { return kPrefersNibbles; }

}  // namespace
}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hh::cpu {
namespace {

HWY_EXPORT(scan_topk);
HWY_EXPORT(prefers_nibbles);

constexpr std::int64_t kMaxGroup = 256;         // queries that share a pass over the database
constexpr std::int64_t kGroupBytes = 32 << 20;  // of their selections: bounds what a large k takes
// Words that a thread should have to look at: some 70 us. With less, waking one up costs more than
// it saves; of one that comes late the others take its part.
constexpr double kMinWordsApart = 1 << 18;
constexpr double kFewQueriesEach = 4;  // per thread: below, rows are split, not queries
// Unpacking a tile into nibbles takes as long as several queries take on it.
constexpr std::int64_t kMinQueriesForNibbles = 16;

/// How a call is cut up.
struct Plan {
  explicit Plan(const HammingTopk& p) {
    const std::int64_t row_words = (p.bits + 63) / 64;
    const double threads = num_threads(), words = double(p.row_count * row_words);
    k = std::min(p.k, p.row_count);
    split_rows =
        double(p.query_count) < kFewQueriesEach * threads && words >= threads * kMinWordsApart;
    const double most = split_rows ? threads : std::min(threads, double(p.query_count));
    workers = std::int64_t(std::clamp(words * double(p.query_count) / kMinWordsApart, 1.0, most));
    const std::int64_t queries =
        split_rows ? p.query_count : (p.query_count + workers - 1) / workers;
    one_selection = std::int64_t(Workspace::padded(Selection::bytes(k, p.bits)));
    group = std::clamp<std::int64_t>(kGroupBytes / one_selection, 1, kMaxGroup);
    group = std::min(group, queries);
    nibbles = group >= kMinQueriesForNibbles && HWY_DYNAMIC_DISPATCH(prefers_nibbles)();
  }

  std::int64_t k = 1;  // no more than there are rows
  std::int64_t workers = 1;
  std::int64_t group = 1;          // queries at a time
  std::int64_t one_selection = 0;  // bytes
  bool split_rows = false, nibbles = false;
};

/// The scratch memory of a worker.
struct Scratch {
  Scratch(const HammingTopk& p, const Plan& plan, Workspace workspace) {
    tile = workspace.take<std::byte>(std::int64_t(tile_bytes(p.bits, plan.nibbles)));
    if (plan.nibbles) {
      tables = workspace.take<std::uint8_t>(plan.group * std::int64_t(table_bytes(p.bits)));
    }
    selections = workspace.take<Selection>(plan.group);
    kept = workspace.take<std::byte>(plan.group * plan.one_selection);
    bytes = workspace.bytes();
  }
  static Scratch of(const HammingTopk& p, const Plan& plan, std::int64_t worker) {
    const std::size_t each = Scratch(p, plan, Workspace(nullptr)).bytes;
    return {p, plan, Workspace::piece(p.workspace, worker, each)};
  }
  std::byte* tile;
  std::uint8_t* tables = nullptr;  // null: count by words
  Selection* selections;           // [group]
  std::byte* kept;                 // [group, one_selection]
  std::size_t bytes;
};

/// Queries [begin, begin + count) on rows [row_begin, row_end), into the scratch's selections.
void scan(const HammingTopk& p, const Plan& plan, const Scratch& scratch, std::int64_t begin,
          std::int64_t count, std::int64_t row_begin, std::int64_t row_end) {
  ScanRows s{.database = p.database, .allowed = p.allowed, .tables = scratch.tables};
  s.query_count = count;
  s.row_begin = row_begin;
  s.row_end = row_end;
  s.bits = p.bits;
  s.words = (p.bits + 63) / 64;
  s.queries = p.queries + begin * s.words;
  s.tile = scratch.tile;
  for (std::int64_t q = 0; q < count; ++q) {
    if (plan.nibbles) {
      nibble_tables(s.queries + q * s.words, (p.bits + 7) / 8,
                    scratch.tables + std::size_t(q) * table_bytes(p.bits));
    }
    std::construct_at(scratch.selections + q)
        ->start(plan.k, p.bits, scratch.kept + q * plan.one_selection);
  }
  HWY_DYNAMIC_DISPATCH(scan_topk)(s, scratch.selections);
}

/// The first k of what several scans kept, given in order of rows.
template <class Keys>
void write_result(const HammingTopk& p, std::int64_t query, std::int64_t scans, const Keys& keys) {
  std::int64_t next[HammingTopk::kMaxBits + 2] = {};  // place of the next row at each distance
  for (std::int64_t i = 0; i < scans; ++i) {
    for (const std::uint64_t key : keys(i)) ++next[Selection::distance(key) + 1];
  }
  for (int d = 0; d <= p.bits; ++d) next[d + 1] += next[d];
  const std::int64_t found = std::min(next[p.bits + 1], p.k);
  std::int64_t* rows = p.rows + query * p.k;
  std::int32_t* distances = p.distances + query * p.k;
  for (std::int64_t i = 0; i < scans; ++i) {
    for (const std::uint64_t key : keys(i)) {
      const int d = Selection::distance(key);
      const std::int64_t place = next[d]++;
      if (place >= p.k) continue;
      rows[place] = Selection::row(key);
      distances[place] = d;
    }
  }
  std::fill(rows + found, rows + p.k, -1);
  std::fill(distances + found, distances + p.k, -1);
}

void split_queries(const HammingTopk& p, const Plan& plan) {
  parallel_chunks(plan.workers, [&](std::int64_t worker) {
    const Scratch scratch = Scratch::of(p, plan, worker);
    const std::int64_t end = p.query_count * (worker + 1) / plan.workers;
    for (std::int64_t q = p.query_count * worker / plan.workers; q < end; q += plan.group) {
      const std::int64_t count = std::min(plan.group, end - q);
      scan(p, plan, scratch, q, count, 0, p.row_count);
      for (std::int64_t i = 0; i < count; ++i) {
        write_result(p, q + i, 1, [&](std::int64_t) { return scratch.selections[i].keys(); });
      }
    }
  });
}

void split_rows(const HammingTopk& p, const Plan& plan) {
  const std::int64_t blocks = (p.row_count + kBlockRows - 1) / kBlockRows;
  const auto row = [&](std::int64_t worker) {
    return std::min(blocks * worker / plan.workers * kBlockRows, p.row_count);
  };
  for (std::int64_t q = 0; q < p.query_count; q += plan.group) {
    const std::int64_t count = std::min(plan.group, p.query_count - q);
    parallel_chunks(plan.workers, [&](std::int64_t worker) {
      scan(p, plan, Scratch::of(p, plan, worker), q, count, row(worker), row(worker + 1));
    });
    for (std::int64_t i = 0; i < count; ++i) {
      write_result(p, q + i, plan.workers, [&](std::int64_t worker) {
        return Scratch::of(p, plan, worker).selections[i].keys();
      });
    }
  }
}

}  // namespace

std::size_t workspace_bytes(const HammingTopk& p) {
  if (p.query_count == 0 || p.row_count == 0) return 0;
  const Plan plan(p);
  return std::size_t(plan.workers) * Scratch(p, plan, Workspace(nullptr)).bytes;
}

void run(const HammingTopk& p) {
  p.validate();
  HH_REQUIRE_WORKSPACE(p);
  if (p.query_count == 0) return;
  if (p.row_count == 0) {
    std::fill_n(p.rows, p.query_count * p.k, -1);
    std::fill_n(p.distances, p.query_count * p.k, -1);
    return;
  }
  const Plan plan(p);
  plan.split_rows ? split_rows(p, plan) : split_queries(p, plan);
}

}  // namespace hh::cpu
#endif

// SPDX-License-Identifier: Apache-2.0
// Traffic   The database is read once per group of queries that a thread has, a tile at a time.
// Threads   Each has its share of the queries.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/hamming/hamming_radius_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per target.
#include "kernels/core/check_workspace.h"
#include "kernels/core/parallel.h"
#include "kernels/core/workspace.h"
#include "kernels/hamming/hamming_radius.h"
#include "kernels/hamming/scan-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hh::cpu::HWY_NAMESPACE {
namespace {

/// p's queries from `first` on, s.query_count of them.
void scan_radius(const HammingRadius& p, std::int64_t first, const ScanRows& s) {
  const int bound = std::min(p.radius, p.bits) + 1;
  scan_rows(
      s, [&](std::int64_t) -> const int& { return bound; },
      [&](std::int64_t q, std::int64_t row, int distance) {
        const std::int64_t place = p.counts[first + q]++;
        if (place >= p.capacity) return;
        p.rows[(first + q) * p.capacity + place] = row;
        p.distances[(first + q) * p.capacity + place] = distance;
      });
}

bool prefers_nibbles() { return kPrefersNibbles; }

}  // namespace
}  // namespace hh::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hh::cpu {
namespace {

HWY_EXPORT(scan_radius);
HWY_EXPORT(prefers_nibbles);

constexpr std::int64_t kGroup = 64;  // queries that share a pass over the database
constexpr std::int64_t kMinQueriesForNibbles = 16;
// Words that a thread should have to look at: about 0.2 ms, as little as one may come late.
constexpr std::int64_t kMinWordsApart = 1 << 20;

/// How a call is cut up.
struct Plan {
  explicit Plan(const HammingRadius& p) : words((p.bits + 63) / 64) {
    const std::int64_t each =
        std::max<std::int64_t>(1, kMinWordsApart / std::max<std::int64_t>(1, p.row_count * words));
    workers = std::min<std::int64_t>(num_threads(), (p.query_count + each - 1) / each);
    nibbles = workers > 0 && p.query_count / workers >= kMinQueriesForNibbles &&
              HWY_DYNAMIC_DISPATCH(prefers_nibbles)();
  }
  int words;
  std::int64_t workers;
  bool nibbles;
};

/// The scratch memory of a worker.
struct Scratch {
  Scratch(const HammingRadius& p, const Plan& plan, Workspace workspace) {
    tile = workspace.take<std::byte>(std::int64_t(tile_bytes(p.bits, plan.nibbles)));
    if (plan.nibbles) {
      tables = workspace.take<std::uint8_t>(kGroup * std::int64_t(table_bytes(p.bits)));
    }
    bytes = workspace.bytes();
  }
  std::byte* tile;
  std::uint8_t* tables = nullptr;  // null: count by words
  std::size_t bytes;
};

/// Queries [begin, end).
void scan(const HammingRadius& p, const Plan& plan, const Scratch& scratch, std::int64_t begin,
          std::int64_t end) {
  for (std::int64_t first = begin; first < end; first += kGroup) {
    ScanRows s{.database = p.database, .allowed = p.allowed, .tables = scratch.tables};
    s.queries = p.queries + first * plan.words;
    s.query_count = std::min(kGroup, end - first);
    s.row_end = p.row_count;
    s.bits = p.bits;
    s.words = plan.words;
    s.tile = scratch.tile;
    for (std::int64_t q = 0; q < s.query_count && plan.nibbles; ++q) {
      nibble_tables(s.queries + q * s.words, (p.bits + 7) / 8,
                    scratch.tables + std::size_t(q) * table_bytes(p.bits));
    }
    HWY_DYNAMIC_DISPATCH(scan_radius)(p, first, s);
  }
}

}  // namespace

std::size_t workspace_bytes(const HammingRadius& p) {
  const Plan plan(p);
  return std::size_t(plan.workers) * Scratch(p, plan, Workspace(nullptr)).bytes;
}

void run(const HammingRadius& p) {
  p.validate();
  HH_REQUIRE_WORKSPACE(p);
  std::fill_n(p.counts, p.query_count, 0);
  const Plan plan(p);
  const std::size_t each = Scratch(p, plan, Workspace(nullptr)).bytes;
  parallel_chunks(plan.workers, [&](std::int64_t worker) {
    const Scratch scratch(p, plan, Workspace::piece(p.workspace, worker, each));
    scan(p, plan, scratch, p.query_count * worker / plan.workers,
         p.query_count * (worker + 1) / plan.workers);
  });
}

}  // namespace hh::cpu
#endif

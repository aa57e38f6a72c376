// SPDX-License-Identifier: Apache-2.0
// Traffic   The database is read once per group of queries that a thread has, a tile at a time.
// Threads   Each has its share of the queries.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/hamming/hamming_radius_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per target.
#include <vector>

#include "kernels/core/parallel.h"
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

}  // namespace

void run(const HammingRadius& p) {
  p.validate();
  std::fill_n(p.counts, p.query_count, 0);
  const int words = (p.bits + 63) / 64;
  const std::int64_t grain =
      std::max<std::int64_t>(1, kMinWordsApart / std::max<std::int64_t>(1, p.row_count * words));
  parallel_for(p.query_count, grain, [&](std::int64_t begin, std::int64_t end) {
    const bool nibbles =
        end - begin >= kMinQueriesForNibbles && HWY_DYNAMIC_DISPATCH(prefers_nibbles)();
    thread_local std::vector<std::uint64_t> tile;
    thread_local std::vector<std::uint8_t> tables;
    tile.resize(tile_bytes(p.bits, nibbles) / 8);
    tables.resize(nibbles ? kGroup * table_bytes(p.bits) : 0);
    for (std::int64_t first = begin; first < end; first += kGroup) {
      ScanRows s{.database = p.database, .allowed = p.allowed};
      s.queries = p.queries + first * words;
      s.query_count = std::min(kGroup, end - first);
      s.row_end = p.row_count;
      s.bits = p.bits;
      s.words = words;
      s.tile = tile.data();
      if (nibbles) s.tables = tables.data();
      for (std::int64_t q = 0; q < s.query_count && nibbles; ++q) {
        nibble_tables(s.queries + q * words, (p.bits + 7) / 8,
                      tables.data() + std::size_t(q) * table_bytes(p.bits));
      }
      HWY_DYNAMIC_DISPATCH(scan_radius)(p, first, s);
    }
  });
}

}  // namespace hh::cpu
#endif

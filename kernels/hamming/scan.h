// SPDX-License-Identifier: Apache-2.0
// What a scan of some rows for some queries needs, and how it is tiled (scan-inl.h does it).
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "kernels/hamming/blocks.h"

namespace hh::cpu {

/// A tile is a stretch of rows that stays in the L1 cache while the queries of a group pass over
/// it.
inline constexpr std::int64_t kTileBytes = 16384;  // half of the smallest L1 in use

/// Bytes of a row of a tile.
inline std::int64_t tile_row_bytes(int bits, bool nibbles) {
  return nibbles ? 2 * ((bits + 7) / 8) : 8 * ((bits + 63) / 64);
}
/// Rows of a tile: whole groups of blocks.
inline std::int64_t tile_rows(int bits, bool nibbles) {
  constexpr std::int64_t kGroupRows = kGroupBlocks * kBlockRows;
  return std::max<std::int64_t>(1, kTileBytes / tile_row_bytes(bits, nibbles) / kGroupRows) *
         kGroupRows;
}
inline std::size_t tile_bytes(int bits, bool nibbles) {
  return std::size_t(tile_rows(bits, nibbles) * tile_row_bytes(bits, nibbles));
}
/// A query alone may pass over rows where they lie in so many streams, each of that length: a core asks
/// for more memory at a time when it reads several places in turns, and what the processor fetches by
/// itself needs some pages in a row.
inline constexpr std::int64_t kStreams = 4, kStreamBytes = 256 << 10;
/// Rows of all streams together, whole blocks.
inline std::int64_t stream_rows(int words) {
  return kStreams * kStreamBytes / (8 * words) / kBlockRows * kBlockRows;
}
/// Bytes of a query's tables.
inline std::size_t table_bytes(int bits) { return std::size_t((bits + 7) / 8) * 32; }

struct ScanRows {
  const std::uint64_t* database = nullptr;  // all rows; row_begin counts from here
  const std::uint64_t* allowed = nullptr;   // as HammingTopk has it
  const std::uint64_t* queries = nullptr;   // [query_count, words]
  const std::uint8_t* tables = nullptr;     // [query_count, table_bytes]; null: count by words
  std::int64_t query_count = 0;
  std::int64_t row_begin = 0, row_end = 0;  // row_begin is a multiple of 64
  int bits = 0, words = 0;
  void* tile = nullptr;  // tile_bytes
};

/// Whether streams gain for a query alone: where rows come from memory, not from a cache, and on AMD's
/// processors, which fetch across pages (docs/results.md). There is no feature to tell those by but the maker's name.
bool reads_streams(const ScanRows& s);
/// For tests and measurements: always or never, on any processor; empty: where they gain. Not while a scan runs.
void use_streams(std::optional<bool> use);

}  // namespace hh::cpu

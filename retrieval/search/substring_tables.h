// SPDX-License-Identifier: Apache-2.0
// The tables of multi-index hashing: for each substring of the codes, all codes in order of the
// value they have there.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "retrieval/codes/codes.h"

namespace hh::retrieval {

/// Bits [first, first + bits) of a code.
struct Substring {
  int first = 0, bits = 0;

  std::uint32_t of(std::span<const std::uint64_t> row) const;
  /// Bits of `row` that are set within the substring.
  int weight(std::span<const std::uint64_t> row) const;
};

struct SubstringTable {
  Substring substring;
  std::vector<std::uint32_t> offsets;  // [2^bits + 1]
  std::vector<std::uint32_t> rows;     // [n] database rows, by bucket, ascending within each
  std::vector<std::uint64_t> codes;    // [n + padding, words] of those rows
};

/// Cuts codes into `count` substrings of as equal length as can be, at most 28 bits each.
std::vector<Substring> cut(int bits, int count);

/// As many substrings as suit a database: buckets of some hundred codes.
int suitable_substrings(std::int64_t count, int bits);

SubstringTable build_table(CodesView codes, const Substring& substring);

/// Memory of all tables.
std::size_t table_bytes(std::int64_t count, int bits, const std::vector<Substring>& substrings);

}  // namespace hh::retrieval

// SPDX-License-Identifier: Apache-2.0
#include "retrieval/search/substring_tables.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/core/check.h"
#include "kernels/hamming/bucket_scan.h"

namespace hh::retrieval {
namespace {

constexpr int kMaxSubstringBits = 28;  // a table of 2^28 offsets takes 1 GB

std::uint64_t low_bits(int count) {
  return count >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1;
}

}  // namespace

std::uint32_t Substring::of(std::span<const std::uint64_t> row) const {
  const auto word = std::size_t(first / 64);
  std::uint64_t value = row[word] >> (first % 64);
  if (first % 64 + bits > 64) value |= row[word + 1] << (64 - first % 64);
  return std::uint32_t(value & low_bits(bits));
}

int Substring::weight(std::span<const std::uint64_t> row) const { return std::popcount(of(row)); }

std::vector<Substring> cut(int bits, int count) {
  const int least = (bits + kMaxSubstringBits - 1) / kMaxSubstringBits;
  HH_PRECONDITION(count >= least && count <= bits,
                  "codes of " << bits << " bits in " << count << " substrings: between " << least
                              << " and " << bits << " are possible");
  std::vector<Substring> substrings;
  for (int i = 0; i < count; ++i) {
    const int first = bits * i / count;
    substrings.push_back({first, bits * (i + 1) / count - first});
  }
  return substrings;
}

int suitable_substrings(std::int64_t count, int bits) {
  // log2 of codes per bucket. At 1 and 10 million clustered codes of 64 bits 4 substrings were the
  // fastest of 3 to 6; 4 and 5 come of this.
  constexpr double kBucketBits = 7.3;
  const double wanted =
      std::clamp(std::log2(double(std::max<std::int64_t>(count, 1))) - kBucketBits, 4.0, 20.0);
  return std::max(1, int(std::lround(bits / wanted)));
}

SubstringTable build_table(CodesView codes, const Substring& substring) {
  SubstringTable table{.substring = substring};
  const auto words = std::size_t(codes.row_words()), n = std::size_t(codes.count);
  table.offsets.resize((std::size_t{1} << substring.bits) + 1);
  for (std::int64_t i = 0; i < codes.count; ++i) ++table.offsets[substring.of(codes.row(i)) + 1];
  for (std::size_t b = 1; b < table.offsets.size(); ++b) table.offsets[b] += table.offsets[b - 1];
  table.rows.resize(n);
  table.codes.resize((n + std::size_t(cpu::BucketScan::kPadding)) * words);
  std::vector<std::uint32_t> next(table.offsets.begin(), table.offsets.end() - 1);
  for (std::int64_t i = 0; i < codes.count; ++i) {
    const auto row = codes.row(i);
    const std::size_t place = next[substring.of(row)]++;
    table.rows[place] = std::uint32_t(i);
    std::copy(row.begin(), row.end(), table.codes.begin() + std::ptrdiff_t(place * words));
  }
  return table;
}

std::size_t table_bytes(std::int64_t count, int bits, const std::vector<Substring>& substrings) {
  const auto words = std::size_t(bits + 63) / 64;
  std::size_t bytes = 0;
  for (const Substring& s : substrings) {
    bytes += ((std::size_t{1} << s.bits) + 1) * 4 + std::size_t(count) * (4 + 8 * words);
  }
  return bytes;
}

}  // namespace hh::retrieval

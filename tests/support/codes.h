// SPDX-License-Identifier: Apache-2.0
// Packed codes for tests.
#pragma once
#include <bit>
#include <cstdint>
#include <vector>

#include "kernels/core/philox.h"

namespace hh::testing {

/// Codes of `bits` bits in 64-bit words. With `centres` > 0 they lie around that many centres, each
/// bit flipped with probability 1/8, so that there are near ones, ties and duplicates.
inline std::vector<std::uint64_t> codes(std::int64_t count, int bits, std::uint64_t seed,
                                        int centres = 0) {
  const Philox random(seed, RandomPurpose::kTest), centre(999, RandomPurpose::kTest, 1);
  const int words = (bits + 63) / 64;
  std::vector<std::uint64_t> codes(std::size_t(count * words));
  std::uint64_t next = 0;
  const auto draw = [&](const Philox& from, std::uint64_t i) {
    return std::uint64_t{from.word(2 * i)} << 32 | from.word(2 * i + 1);
  };
  for (std::int64_t row = 0; row < count; ++row) {
    const std::uint64_t which = centres > 0 ? draw(random, next++) % std::uint64_t(centres) : 0;
    for (int w = 0; w < words; ++w) {
      std::uint64_t word = draw(random, next++);
      if (centres > 0) {
        word &= draw(random, next++);
        word &= draw(random, next++);
        word ^= draw(centre, which * 8 + std::uint64_t(w));
      }
      if (w == words - 1 && bits % 64 != 0) word &= (std::uint64_t{1} << (bits % 64)) - 1;
      codes[std::size_t(row * words + w)] = word;
    }
  }
  return codes;
}

inline int distance(const std::uint64_t* a, const std::uint64_t* b, int words) {
  int sum = 0;
  for (int w = 0; w < words; ++w) sum += std::popcount(a[w] ^ b[w]);
  return sum;
}

/// A row mask that lets about one in `one_in` rows through.
inline std::vector<std::uint64_t> row_mask(std::int64_t rows, std::uint32_t one_in,
                                           std::uint64_t seed) {
  const Philox random(seed, RandomPurpose::kTest, 2);
  std::vector<std::uint64_t> mask(std::size_t(rows + 63) / 64);
  for (std::int64_t r = 0; r < rows; ++r) {
    if (random.below(std::uint64_t(r), one_in) == 0) {
      mask[std::size_t(r / 64)] |= std::uint64_t{1} << (r % 64);
    }
  }
  return mask;
}

}  // namespace hh::testing

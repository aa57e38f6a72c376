// SPDX-License-Identifier: Apache-2.0
// How the CPU scans see a database: in blocks of 64 rows, transposed so that one vector instruction
// works on many rows. 64, because that many rows share one word of a row mask.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace hh::cpu {

inline constexpr std::int64_t kBlockRows = 64;
inline constexpr std::size_t kRows = std::size_t(kBlockRows);  // the same, as an index
/// Blocks that the widest scan by nibbles looks at together.
inline constexpr std::int64_t kGroupBlocks = 4;

/// A block by words: [W][64], word w of each row. Rows past `rows` become zero.
inline void word_block(const std::uint64_t* from, std::int64_t rows, int words, std::uint64_t* to) {
  for (std::int64_t r = 0; r < kBlockRows; ++r) {
    for (int w = 0; w < words; ++w) to[w * kBlockRows + r] = r < rows ? from[r * words + w] : 0;
  }
}

/// An 8 x 8 matrix of bytes, row i in x[i], to its transpose.
inline void transpose_bytes(std::uint64_t (&x)[8]) {
  const auto exchange = [&](int distance, std::uint64_t mask) {
    for (int i = 0; i < 8; ++i) {
      if (i & distance) continue;
      const std::uint64_t t = ((x[i] >> (8 * distance)) ^ x[i + distance]) & mask;
      x[i] ^= t << (8 * distance);
      x[i + distance] ^= t;
    }
  };
  exchange(4, 0x00000000ffffffffu);
  exchange(2, 0x0000ffff0000ffffu);
  exchange(1, 0x00ff00ff00ff00ffu);
}

/// A block by nibbles: nibble n of each row as a byte of plane n, [64], the planes `stride` bytes
/// apart. Rows past `rows` become zero.
inline void nibble_block(const std::uint64_t* from, std::int64_t rows, int words, int bytes,
                         std::int64_t stride, std::uint8_t* to) {
  constexpr std::uint64_t kLow = 0x0f0f0f0f0f0f0f0fu;
  for (int w = 0; w < words; ++w) {
    for (std::int64_t r = 0; r < kBlockRows; r += 8) {
      std::uint64_t x[8];
      for (int i = 0; i < 8; ++i) x[i] = r + i < rows ? from[(r + i) * words + w] : 0;
      transpose_bytes(x);
      for (int j = 0; j < 8 && w * 8 + j < bytes; ++j) {
        const std::uint64_t low = x[j] & kLow, high = x[j] >> 4 & kLow;
        std::uint8_t* plane = to + 2 * (w * 8 + j) * stride + r;
        std::memcpy(plane, &low, 8);
        std::memcpy(plane + stride, &high, 8);
      }
    }
  }
}

/// For each nibble of a query the distances of all 16 nibbles to it: [2 * bytes][16].
inline void nibble_tables(const std::uint64_t* query, int bytes, std::uint8_t* tables) {
  for (int n = 0; n < 2 * bytes; ++n) {
    const auto nibble = unsigned(query[n / 16] >> (4 * (n % 16)) & 15);
    for (unsigned v = 0; v < 16; ++v) *tables++ = std::uint8_t(std::popcount(nibble ^ v));
  }
}

inline int row_distance(const std::uint64_t* a, const std::uint64_t* b, int words) {
  int distance = 0;
  for (int w = 0; w < words; ++w) distance += std::popcount(a[w] ^ b[w]);
  return distance;
}

}  // namespace hh::cpu

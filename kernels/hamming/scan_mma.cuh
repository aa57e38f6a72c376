// SPDX-License-Identifier: Apache-2.0
// Distances by tensor cores, for codes of 64 bits and many queries: with +1 and -1 for the bits of a
// query q and 1 and 0 for those of a row r,
//
//   d(q, r) = popc(q) - sum_k q[k] r[k]
//
// Bit j of a nibble stays where it is in a row's byte, 0 or 2^j, and is +2^(3-j) or -2^(3-j) in a
// query's. So all are 8 times as large: the product of 16 queries and 8 rows starts at
// 8 (limit - popc(q)) and ends at 8 (limit - d), and what isn't negative is within the limit. Two
// 16x8x32 products of bytes take the place of 256 population counts of 32 bits.
// With g = lane / 4 and t = lane % 4 a lane has of a[16, 32], b[32, 8] and c[16, 8]
//   a[0] = a[g, 4t..], a[1] = a[g+8, 4t..], a[2], a[3] = those 16 columns on
//   b[0] = b[4t.., g], b[1] = b[4t+16.., g]
//   c[0], c[1] = c[g, 2t..], c[2], c[3] = c[g+8, 2t..]
// Source: PTX ISA, "Matrix Fragments for mma.m16n8k32".
#pragma once
#include "kernels/hamming/scan.cuh"

namespace hh::gpu {

/// d = c + a b of signed bytes.
__device__ inline void mma_bytes(int (&d)[4], const int (&c)[4], const unsigned (&a)[4],
                                 unsigned b0, unsigned b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%10, %11, %12, %13};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "r"(c[0]), "r"(c[1]),
        "r"(c[2]), "r"(c[3]));
}

/// 16 bits as four bytes with a nibble each in their lower halves; the upper ones hold anything.
/// Which nibble lies where doesn't matter as long as queries and rows agree.
__device__ inline unsigned nibbles_of(unsigned bits) { return bits | bits << 12; }

/// Bit j of the nibbles as +2^(3-j) for 1 and -2^(3-j) for 0.
__device__ inline unsigned signed_bits(unsigned nibbles, int j) {
  const unsigned ones = nibbles >> j & 0x01010101u, size = 8u >> j;
  return ones * size | (ones ^ 0x01010101u) * (256 - size);
}

/// 64 queries, which the warps of a block share.
struct MmaQueries {
  static constexpr int kTiles = 4, kCount = 16 * kTiles;
  unsigned bits[kTiles][2][4];  // [which 16][half of the code]
  int start[kTiles][2];         // 8 (limit - popc) of queries g and g + 8

  /// limits: of kCount queries from `first`, -1 of those that aren't there.
  __device__ MmaQueries(const ScanInput& in, std::int64_t first, const int* limits) {
    const int lane = int(threadIdx.x) % kWarpSize, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int i = 16 * m + g + 8 * half;
        const std::uint64_t code = in.queries[min(first + i, in.query_count - 1)];
        const unsigned nibbles = nibbles_of(unsigned(code >> (16 * t)) & 0xffffu);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          bits[m][j / 2][half + 2 * (j % 2)] = signed_bits(nibbles, j);
        }
        start[m][half] = 8 * (limits[i] - __popcll(code));
      }
    }
  }

  /// Calls hit(query, row, limit - d) for what is within the limit among the 32 rows from `base`;
  /// row: 0 to 31. quarters[n]: a lane's 16 bits of row 8n + g.
  template <class Hit>
  __device__ void scan(const unsigned (&quarters)[4], const Hit& hit) const {
    const int lane = int(threadIdx.x) % kWarpSize, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      const unsigned nibbles = nibbles_of(quarters[n]);
      unsigned b[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) b[j] = nibbles & 0x01010101u << j;
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
        const int c[4] = {start[m][0], start[m][0], start[m][1], start[m][1]};
        int low[4], left[4];
        mma_bytes(low, c, bits[m][0], b[0], b[1]);
        mma_bytes(left, low, bits[m][1], b[2], b[3]);
        if ((left[0] & left[1] & left[2] & left[3]) < 0) continue;  // all are
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (left[i] >= 0) hit(16 * m + g + i / 2 * 8, 8 * n + 2 * t + i % 2, left[i] >> 3);
        }
      }
    }
  }
};

}  // namespace hh::gpu

// SPDX-License-Identifier: Apache-2.0
// How a warp of the tensor-core kernels reads tiles of 16 rows of planes
// (window_attention_tiles.cuh) and multiplies them.
//
// Products of float  A factor is split into its leading 11 bits, which TF32 holds, and the rest, of
//           which TF32 holds 11 of at most 13. Rest times rest is left out (at most 2^-20 of the
//           product, 2^-22 on average), and so is what the rests lose (below 2^-20). Float32 sums
//           of 32 products are allowed an error of 2^-19 of their magnitude.
#pragma once
#include "kernels/attention/window_attention_tiles.cuh"

namespace hh::gpu {
namespace attention_mma {

/// The leading bits of a float32 and the rest.
struct Parts {
  unsigned top, rest;
};
__device__ inline Parts parts_of(unsigned bits) {
  Parts parts;
  asm("and.b32 %0, %2, 0xffffe000; sub.f32 %1, %2, %0;"
      : "=&r"(parts.top), "=r"(parts.rest)
      : "r"(bits));
  return parts;
}

/// A left operand and the product of it and a right operand: sums[16, 8] += left right.
template <class T>
struct Left {
  unsigned v[4];
  __device__ Left(unsigned a0, unsigned a1, unsigned a2, unsigned a3) : v{a0, a1, a2, a3} {}
  __device__ void add_product(float (&sums)[4], unsigned b0, unsigned b1) const {
    mma_add<T>(sums, v, b0, b1);
  }
  /// The same for sums that are 0.
  __device__ void product(float (&sums)[4], unsigned b0, unsigned b1) const {
    mma<T>(sums, v, b0, b1);
  }
};
template <>
struct Left<float> {
  unsigned top[4], rest[4];
  __device__ Left(unsigned a0, unsigned a1, unsigned a2, unsigned a3) {
    const unsigned a[4] = {a0, a1, a2, a3};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const Parts parts = parts_of(a[i]);
      top[i] = parts.top;
      rest[i] = parts.rest;
    }
  }
  __device__ void add_product(float (&sums)[4], unsigned b0, unsigned b1) const {
    const Parts p0 = parts_of(b0), p1 = parts_of(b1);
    mma_add_tf32(sums, rest, p0.top, p1.top);
    mma_add_tf32(sums, top, p0.rest, p1.rest);
    mma_add_tf32(sums, top, p0.top, p1.top);
  }
  __device__ void product(float (&sums)[4], unsigned b0, unsigned b1) const {
#pragma unroll
    for (float& sum : sums) sum = 0;
    add_product(sums, b0, b1);
  }
};

/// 16 rows as an operand of a sum over e: as a left operand 16 rows of the result, as a right
/// operand 16 columns. Lane t of four holds chunks t, t + 4, ... of a row, which is another order
/// of the sum than the instruction's, but the same for both operands.
template <class T, int kD>
struct RowFragment {
  static constexpr int kParts = Rows<T, kD>::kBytes / 64, kSteps = 2 * kParts;
  unsigned v[2][kParts][4];  // rows g and g + 8

  /// What a step of the sum takes of row g + 8i: the first half of its e's or the second.
  __device__ unsigned at(int i, int step, int half) const {
    if constexpr (sizeof(T) == 4) return v[i][step / 4 * 2 + half][step % 4];
    return v[i][step / 2][step % 2 * 2 + half];
  }
  __device__ Left<T> left(int step) const {
    return {at(0, step, 0), at(1, step, 0), at(0, step, 1), at(1, step, 1)};
  }
};

/// Calls body(std::integral_constant<int, i>) for i from kFirst to kEnd - 1.
template <int kFirst, int kEnd, class Body>
__device__ void for_parts(const Body& body) {
  if constexpr (kFirst < kEnd) {
    body(std::integral_constant<int, kFirst>());
    for_parts<kFirst + 1, kEnd>(body);
  }
}

/// Where a lane reads a tile of 16 rows of a plane. The last tile (kLast) may be incomplete: past
/// the last token it reads the last one again, and what comes of it is not stored or has weight 0.
template <class T, int kD, bool kLast>
struct Cursor {
  static constexpr bool kOfLast = kLast;
  static constexpr int kBytes = Rows<T, kD>::kBytes;
  static constexpr int kColumns = sizeof(T) == 2 ? kD / 16 : kLast ? 4 : 2;
  static constexpr int kRows = kBytes == 64 ? 1 : 2;     // part j + 2 is 128 bytes after part j
  unsigned row[kLast ? 2 : 1][kRows], column[kColumns];  // addresses in shared memory

  template <int kPart>
  __device__ void load_part(RowFragment<T, kD>* to) const {
    constexpr int kOffset = kPart / 2 * 128, kSecond = kLast ? kOffset : kOffset + 8 * kBytes;
    load16<kOffset>(to->v[0][kPart], row[0][kPart % 2]);
    load16<kSecond>(to->v[1][kPart], row[kLast ? 1 : 0][kPart % 2]);
  }
  __device__ RowFragment<T, kD> rows() const {
    RowFragment<T, kD> to;
    for_parts<0, to.kParts>([&](auto part) { load_part<part()>(&to); });
    return to;
  }
  /// 16-bit right operands of a sum over the rows: to[0], to[1] for e = 16*part to 16*part + 7,
  /// to[2], to[3] for the 8 e's after.
  __device__ void columns(int part, unsigned (&to)[4]) const { load_transposed(to, column[part]); }
  /// Of rows 8i + 2t (u = 0) and 8i + 2t + 1, the lane's chunk of 32 floats: right operands of a
  /// sum over the rows in this order, for e = column_chunk() * 4 + 32 * kHalf + index.
  template <int kI, int kU, int kHalf>
  __device__ void column_rows(unsigned (&to)[4]) const {
    constexpr int kSecond = kLast ? 0 : kI * 8 * kBytes;
    load16<kSecond + kHalf * 128>(to, column[kLast ? kI * 2 + kU : kU]);
  }

  __device__ void advance() {
#pragma unroll
    for (auto& half : row) {
#pragma unroll
      for (unsigned& address : half) address += 16 * kBytes;
    }
#pragma unroll
    for (unsigned& address : column) address += 16 * kBytes;
  }
};

template <class T, int kD>
class TileReader {
 public:
  __device__ explicit TileReader(int tokens)
      : last_tile_((tokens - 1) / 16), limit_(tokens - 1 - last_tile_ * 16) {}
  __device__ int tiles() const { return last_tile_ + 1; }
  /// Rows of the last tile.
  __device__ int last_rows() const { return limit_ + 1; }

  __device__ Cursor<T, kD, false> first(unsigned plane, int mask = 0) const {
    return make<false>(plane, mask, 15);
  }
  __device__ Cursor<T, kD, true> last(unsigned plane, int mask = 0) const {
    return make<true>(plane + last_tile_ * 16 * Rows<T, kD>::kBytes, mask, limit_);
  }
  __device__ RowFragment<T, kD> rows(unsigned plane, int tile, int mask = 0) const {
    if (tile == last_tile_) return last(plane, mask).rows();
    return first(plane + tile * 16 * Rows<T, kD>::kBytes, mask).rows();
  }
  /// The inverse of rows().
  __device__ void store_rows(const RowFragment<T, kD>& from, int tile, unsigned plane,
                             int mask = 0) const {
    const int lane = int(threadIdx.x) % kWarpSize, rows = tile == last_tile_ ? limit_ + 1 : 16;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = lane / 4 + 8 * i;
      if (row >= rows) continue;
#pragma unroll
      for (int j = 0; j < RowFragment<T, kD>::kParts; ++j) {
        store<16>(from.v[i][j],
                  plane + (Rows<T, kD>::offset(tile * 16 + row, lane % 4 + 4 * j) ^ mask));
      }
    }
  }

 private:
  template <bool kLast>
  __device__ Cursor<T, kD, kLast> make(unsigned plane, int mask, int limit) const {
    const int lane = int(threadIdx.x) % kWarpSize;
    Cursor<T, kD, kLast> to;
    const auto address = [&](int row, int chunk) {
      return plane + (Rows<T, kD>::offset(min(row, limit), chunk) ^ mask);
    };
#pragma unroll
    for (int i = 0; i < (kLast ? 2 : 1); ++i) {
#pragma unroll
      for (int j = 0; j < to.kRows; ++j) {
        to.row[i][j] = address(lane / 4 + 8 * i, lane % 4 + 4 * j);
      }
    }
#pragma unroll
    for (int i = 0; i < Cursor<T, kD, kLast>::kColumns; ++i) {
      to.column[i] = sizeof(T) == 2
                         ? address(lane % 16, lane / 16 + 2 * i)
                         : address(i / 2 * 8 + lane % 4 * 2 + i % 2, lane / 8 + lane / 4 % 2 * 4);
    }
    return to;
  }

  int last_tile_, limit_;
};

/// c = a b^T of 16 x 16 for each a, with the tile of rows b: c[i] are columns 8i to 8i + 7.
template <class T, int kD, bool kLast, int kOwn>
__device__ void dot_rows(const RowFragment<T, kD> (&a)[kOwn], const Cursor<T, kD, kLast>& at,
                         float (&c)[kOwn][2][4]) {
  constexpr int kSpan = sizeof(T) == 4 ? 2 : 1;  // parts that a step takes from
  RowFragment<T, kD> b;
  for_parts<0, b.kParts / kSpan>([&](auto span) {
    constexpr int kFirst = span() * kSpan;
    for_parts<kFirst, kFirst + kSpan>([&](auto part) { at.template load_part<part()>(&b); });
#pragma unroll
    for (int s = 2 * kFirst; s < 2 * (kFirst + kSpan); ++s) {
#pragma unroll
      for (int m = 0; m < kOwn; ++m) {
        const Left<T> left = a[m].left(s);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          if (s == 0) {
            left.product(c[m][i], b.at(i, s, 0), b.at(i, s, 1));
          } else {
            left.add_product(c[m][i], b.at(i, s, 0), b.at(i, s, 1));
          }
        }
      }
    }
  });
}

/// Weights of 16 x 16 in 16 bits as a left operand.
template <class T, int kOwn>
__device__ void pack_weights(const float (&weights)[kOwn][2][4], unsigned (&to)[kOwn][4]) {
#pragma unroll
  for (int m = 0; m < kOwn; ++m) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      to[m][i] = pack_halves<T>(weights[m][i / 2][i % 2 * 2], weights[m][i / 2][i % 2 * 2 + 1]);
    }
  }
}

/// add_product() of packed weights.
template <class T, int kD, bool kLast, int kOwn>
__device__ void add_packed_product(float (&sums)[kOwn][kD / 8][4],
                                   const unsigned (&weights)[kOwn][4],
                                   const Cursor<T, kD, kLast>& at) {
#pragma unroll
  for (int part = 0; part < kD / 16; ++part) {
    unsigned b[4];
    at.columns(part, b);
#pragma unroll
    for (int m = 0; m < kOwn; ++m) {
      mma_add<T>(sums[m][2 * part], weights[m], b[0], b[1]);
      mma_add<T>(sums[m][2 * part + 1], weights[m], b[2], b[3]);
    }
  }
}

/// sums [16, kD] of each of kOwn tiles += its weights [16, 16] times a tile of rows. as_rows() says
/// which e's the sums are of.
template <class T, int kD, bool kLast, int kOwn>
__device__ void add_product(float (&sums)[kOwn][kD / 8][4], const float (&weights)[kOwn][2][4],
                            const Cursor<T, kD, kLast>& at) {
  if constexpr (sizeof(T) == 2) {
    unsigned packed[kOwn][4];
    pack_weights<T>(weights, packed);
    add_packed_product(sums, packed, at);
  } else {
    for_parts<0, kD / 32>([&](auto half) {
      for_parts<0, 2>([&](auto i) {
        unsigned b0[4], b1[4];
        at.template column_rows<i(), 0, half()>(b0);
        at.template column_rows<i(), 1, half()>(b1);
#pragma unroll
        for (int m = 0; m < kOwn; ++m) {
          const auto& w = weights[m][i()];
          const Left<float> a(__float_as_uint(w[0]), __float_as_uint(w[2]), __float_as_uint(w[1]),
                              __float_as_uint(w[3]));
#pragma unroll
          for (int j = 0; j < 4; ++j) a.add_product(sums[m][4 * half() + j], b0[j], b1[j]);
        }
      });
    });
  }
}

/// Of four lanes with four registers each: register j of lane t becomes register t of lane j.
__device__ inline void transpose_in_four_lanes(unsigned (&r)[4]) {
  const auto exchange = [](unsigned& low, unsigned& high, int bit) {
    const bool upper = threadIdx.x & bit;
    const unsigned got = __shfl_xor_sync(kFullMask, upper ? low : high, bit);
    (upper ? low : high) = got;
  };
  exchange(r[0], r[1], 1);
  exchange(r[2], r[3], 1);
  exchange(r[0], r[2], 2);
  exchange(r[1], r[3], 2);
}

/// Sums as rows, those of row g + 8i times factors[i]. All lanes of the warp.
template <class T, int kD>
__device__ RowFragment<T, kD> as_rows(const float (&sums)[kD / 8][4], float factor0,
                                      float factor1) {
  RowFragment<T, kD> to;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const float factor = i == 0 ? factor0 : factor1;
#pragma unroll
    for (int j = 0; j < RowFragment<T, kD>::kParts; ++j) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        if constexpr (sizeof(T) == 2) {
          const auto& two = sums[4 * j + c];
          to.v[i][j][c] = pack_halves<T>(two[2 * i] * factor, two[2 * i + 1] * factor);
        } else {
          to.v[i][j][c] = __float_as_uint(sums[j / 2 * 4 + c][2 * i + j % 2] * factor);
        }
      }
      if constexpr (sizeof(T) == 2) transpose_in_four_lanes(to.v[i][j]);
    }
  }
  return to;
}

}  // namespace attention_mma
}  // namespace hh::gpu

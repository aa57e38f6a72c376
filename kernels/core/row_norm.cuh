// SPDX-License-Identifier: Apache-2.0
// LayerNorm of rows that a group of up to 32 threads keeps in registers, forward and backward, for
// the kernels that fuse it with what stands before it. Longer rows (kLongestRow) are for kernels
// that give a block to a row.
#pragma once
#include "kernels/core/row_groups.cuh"

namespace hh::gpu {

constexpr int kLongestRow = 512;  // columns: 16 per lane, which leaves registers for the sums

/// The threads of a block in groups of `lanes`, each with a row at a time. A lane has kItems packs
/// of kVec columns, lanes * kVec apart. All lanes of a warp must take part in its sums.
template <int kVec, int kItems>
struct RowGroup {
  int lanes, lane, index;
  int count;  // groups in the block

  explicit __device__ RowGroup(int lanes_in)
      : lanes(lanes_in),
        lane(int(threadIdx.x) & (lanes_in - 1)),
        index(int(threadIdx.x) / lanes_in),
        count(kRowThreads / lanes_in) {}

  /// f(i, c) for the lane's packs i that begin at a column c < cols.
  template <class F>
  __device__ void for_each(int cols, F f) const {
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      const int c = (i * lanes + lane) * kVec;
      if (c < cols) f(i, c);
    }
  }
  /// The lane's part of a row; zeros past cols.
  template <class T>
  __device__ void load(const T* row, int cols, float (&to)[kItems][kVec]) const {
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      const int c = (i * lanes + lane) * kVec;
      if (c < cols) {
        load_floats(row + c, to[i]);
      } else {
#pragma unroll
        for (int k = 0; k < kVec; ++k) to[i][k] = 0;
      }
    }
  }
  template <class T>
  __device__ void load(const T* row, int cols, Pack<T, kVec> (&to)[kItems]) const {
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      const int c = (i * lanes + lane) * kVec;
      to[i] = {};
      if (c < cols) to[i] = *reinterpret_cast<const Pack<T, kVec>*>(row + c);
    }
  }
  template <class T>
  __device__ void store(const float (&from)[kItems][kVec], int cols, T* row) const {
    for_each(cols, [&](int i, int c) { store_floats(from[i], row + c); });
  }
  __device__ void store(const float (&from)[kItems][kVec], const SharedRows<kVec>& shared) const {
    for_each(shared.cols(), [&](int i, int c) { shared.store(index, c, from[i]); });
  }
  /// Over the group's lanes; a fixed tree, so the same bits every time.
  __device__ float sum(float v) const {
#pragma unroll
    for (int step = kWarpSize / 2; step > 0; step /= 2) {
      if (step < lanes) v += __shfl_xor_sync(kFullMask, v, step);
    }
    return v;
  }
};

struct RowStatistics {
  float mean = 0, rstd = 0;
};

/// Of a row of `cols` columns, all zeros when the group has none (has = 0) and only takes part in
/// the sums. The variance is the mean squared deviation: E[z^2] - E[z]^2 would cancel when
/// |mean| >> std.
template <int kVec, int kItems>
__device__ RowStatistics row_statistics(const RowGroup<kVec, kItems>& group,
                                        const float (&z)[kItems][kVec], int has, int cols,
                                        float eps) {
  float sum = 0, squares = 0;
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
#pragma unroll
    for (int k = 0; k < kVec; ++k) sum += z[i][k];
  }
  const float mean = group.sum(sum) / float(cols);
  group.for_each(has, [&](int i, int) {
#pragma unroll
    for (int k = 0; k < kVec; ++k) squares += (z[i][k] - mean) * (z[i][k] - mean);
  });
  return {mean, rsqrtf(group.sum(squares) / float(cols) + eps)};
}

/// z becomes y = (z - mean) rstd gamma + beta, with gamma and beta in two rows of `shared`.
template <int kVec, int kItems>
__device__ void normalise_row(const RowGroup<kVec, kItems>& group, const RowStatistics& s, int has,
                              const SharedRows<kVec>& shared, int gamma_row, int beta_row,
                              float (&z)[kItems][kVec]) {
  group.for_each(has, [&](int i, int c) {
    float gamma[kVec], beta[kVec];
    shared.load(gamma_row, c, gamma);
    shared.load(beta_row, c, beta);
#pragma unroll
    for (int k = 0; k < kVec; ++k) z[i][k] = (z[i][k] - s.mean) * s.rstd * gamma[k] + beta[k];
  });
}

/// The LayerNorm's gradient of a row: with h = (z - mean) rstd and g = dy gamma it is
/// rstd (g - 1/C sum g - h 1/C sum g h).
template <class T, int kVec, int kItems>
struct RowGradient {
  Pack<T, kVec> dy[kItems], z[kItems];
  RowStatistics s;
  float mean_g = 0, mean_gh = 0;

  /// Of a row with `has` columns: cols, or 0 when the group has none.
  __device__ void load(const RowGroup<kVec, kItems>& group, const T* dy_row, const T* z_row,
                       int has) {
    group.load(dy_row, has, dy);
    group.load(z_row, has, z);
  }
  /// Adds the row's share to dgamma and dbeta, and finds the means that the gradient needs.
  __device__ void reduce(const RowGroup<kVec, kItems>& group, int has, int cols,
                         const SharedRows<kVec>& shared, int gamma_row,
                         float (&dgamma)[kItems][kVec], float (&dbeta)[kItems][kVec]) {
    float sum_g = 0, sum_gh = 0;
    group.for_each(has, [&](int i, int c) {
      float gamma[kVec];
      shared.load(gamma_row, c, gamma);
#pragma unroll
      for (int k = 0; k < kVec; ++k) {
        const float d = dy[i].get(k), g = d * gamma[k];
        dgamma[i][k] += d * h(i, k);
        dbeta[i][k] += d;
        sum_g += g;
        sum_gh += g * h(i, k);
      }
    });
    mean_g = group.sum(sum_g) / float(cols);
    mean_gh = group.sum(sum_gh) / float(cols);
  }
  /// Adds the gradient of pack i, which begins at column c.
  __device__ void add(int i, int c, const SharedRows<kVec>& shared, int gamma_row,
                      float (&total)[kVec]) const {
    float gamma[kVec];
    shared.load(gamma_row, c, gamma);
#pragma unroll
    for (int k = 0; k < kVec; ++k) {
      total[k] += s.rstd * (dy[i].get(k) * gamma[k] - mean_g - h(i, k) * mean_gh);
    }
  }

 private:
  __device__ float h(int i, int k) const { return (z[i].get(k) - s.mean) * s.rstd; }
};

/// Calls launch(Constant<kVec>, Constant<kItems>) for the least that holds a row of `cols` columns
/// of type T, in vectors where they divide a row and the caller says that all arrays are aligned.
/// False when the row is longer than kLongestRow.
template <class T, class F>
bool choose_row_group(int cols, bool aligned, F launch) {
  const auto fits = [&](auto vec, auto items) {
    if (cols > kWarpSize * vec * items) return false;
    launch(vec, items);
    return true;
  };
  constexpr Constant<kVector<T>> vec{};
  constexpr Constant<1> one{};
  static_assert(kWarpSize * (vec == 4 ? 4 * 4 : 2 * vec) == kLongestRow);
  static_assert(kWarpSize * 16 == kLongestRow);
  if (aligned && cols % vec == 0) {
    if (fits(vec, Constant<1>()) || fits(vec, Constant<2>())) return true;
    if constexpr (vec == 4) return fits(vec, Constant<4>());
    return false;
  }
  return fits(one, Constant<1>()) || fits(one, Constant<4>()) || fits(one, Constant<16>());
}

}  // namespace hh::gpu

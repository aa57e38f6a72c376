// SPDX-License-Identifier: Apache-2.0
// A convolution's weight gradient from 16-bit arrays in one kernel on tensor cores, without columns
// in memory, for conv2d.cu. Kernels of 3x3, 1x3 and 3x1, channels in eights, arrays on 16 bytes.
#pragma once
#include <optional>

#include "kernels/conv/conv2d.h"
#include "kernels/core/device.cuh"

namespace hh::gpu {

/// n / value by a multiplication, for n below 2^31.
struct Divisor {
  unsigned value = 1, magic = 1;
  int shift = 0;
  Divisor() = default;
  explicit Divisor(unsigned d) : value(d) {
    while ((std::uint64_t{1} << shift) < d) ++shift;
    magic = unsigned(((std::uint64_t{1} << 32) * ((std::uint64_t{1} << shift) - d)) / d + 1);
  }
  __device__ unsigned quotient(unsigned n) const { return (__umulhi(n, magic) + n) >> shift; }
};

/// How the work is divided: a block has 128 output channels, some input channels of all taps, and a
/// share of the pixels, of which it leaves sums. In constant memory while the kernel runs.
struct WeightGradientPlan {
  unsigned pixels = 0;
  int steps = 0;  // of pixels
  int shares = 0;
  int out_tiles = 0, in_tiles = 0;
  unsigned ring_mask = 0;  // rows of x in shared memory, a power of two, less one
  unsigned row_bytes = 0;  // of such a row
  int shared_bytes = 0;
  Divisor width, height, rows_of_image;  // the last: and one of zeros

  int blocks() const { return shares * out_tiles * in_tiles; }
  /// Rows of partial sums of dbias.
  int bias_rows() const { return shares * in_tiles; }
};

/// Nothing where the kernel can't.
template <class T>
std::optional<WeightGradientPlan> weight_gradient_plan(const Conv2dBackwardWeight<T>& p);

/// Leaves sums of each share of the pixels in `weights`, [shares, Cout, taps, Cin], and of dy in
/// `biases`, [bias_rows, Cout], unless that is null.
template <class T>
void weight_gradient(const Conv2dBackwardWeight<T>& p, const WeightGradientPlan& plan,
                     float* weights, float* biases, StreamHandle stream);

}  // namespace hh::gpu

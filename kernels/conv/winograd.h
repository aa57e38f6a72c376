// SPDX-License-Identifier: Apache-2.0
// Convolutions of 3 x 3 in float32 with 4 multiplications for each output in place of 9. Private to
// conv2d_cpu.cpp.
#pragma once
#include <cstddef>
#include <utility>

#include "kernels/conv/conv2d.h"

namespace hh::cpu {

struct Winograd {
  /// y [B,H,W,Cout] of x [B,H,W,Cin], with the weight as the state dict has it.
  static Winograd of(const Conv2dForward<float>& p) {
    return {p.shape, p.x, p.weight, p.bias, p.y, false};
  }
  /// dx of dy: the convolution with the taps turned round and the channels exchanged.
  static Winograd of(const Conv2dBackwardInput<float>& p) {
    Conv2dShape s = p.shape;
    std::swap(s.in_channels, s.out_channels);
    return {s, p.dy, p.weight, nullptr, p.dx, true};
  }

  Conv2dShape shape;
  const float *x, *weight, *bias;
  float* y;
  bool turned;
};

/// Where it is faster than a direct convolution. Depends on an image's shape alone.
bool winograd_gains(const Conv2dShape& s);

/// The same bits for any number of threads, and for an image whatever images are beside it. `workspace`:
/// winograd_bytes(shape), aligned to 64.
void run(const Winograd& p, void* workspace);
/// Holds for the num_threads() of the moment it was asked for, for the shape and for the same with its
/// channels exchanged.
std::size_t winograd_bytes(const Conv2dShape& s);

}  // namespace hh::cpu

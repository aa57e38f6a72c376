// SPDX-License-Identifier: Apache-2.0
// A convolution (conv2d.h) whose products are of bytes, for inference on the CPU. It is the linear layer of
// linear/int8_linear.h on what each pixel sees, its own neighbourhood of kh x kw pixels, zeros outside the
// image: rounded by one scale a pixel. So an image's code doesn't depend on what shares its batch.
// There is no GPU side.
#pragma once
#include <cstddef>

#include "kernels/conv/conv2d.h"

namespace hh {

struct Int8Conv2dForward {
  static constexpr bool kOnCpuOnly = true;
  const float* x = nullptr;  // [B, H, W, Cin] in
  const void* packed =
      nullptr;                  // in  of Int8Pack: the weight as [Cout, kh, kw, Cin]; aligned to 64
  const float* bias = nullptr;  // [Cout] in   may be null
  float* y = nullptr;           // [B, H, W, Cout] out
  Conv2dShape shape;            // kh kw Cin <= 65536
  void* workspace = nullptr;    // workspace_bytes(*this), aligned to 64

  /// What a pixel sees.
  int seen() const { return shape.taps() * shape.in_channels; }
  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    shape.validate("int8_conv2d");
    HH_PRECONDITION(std::int64_t{shape.taps()} * shape.in_channels <= 65536,
                    "int8_conv2d: in_channels = " << shape.in_channels);
    HH_PRECONDITION(shape.images == 0 || (x && packed && y), "int8_conv2d: an array is null");
  }
  Work work() const { return shape.work(sizeof(float), 1); }
};

namespace cpu {
/// Only where has_int8_products() (gemm/instructions.h). Returns when done; the same bits for any
/// number of threads. Throws DeviceError when oneDNN fails.
void run(const Int8Conv2dForward& p);
/// Bytes that `workspace` must hold. Holds for the num_threads() of the moment it was asked for.
std::size_t workspace_bytes(const Int8Conv2dForward& p);
}  // namespace cpu

}  // namespace hh

// SPDX-License-Identifier: Apache-2.0
// How fast a device multiplies matrices at best: what a kernel's flops are a share of.
#pragma once
#include <string_view>

#include "engine/device/device.h"
#include "engine/tensor/dtype.h"

namespace hh {

/// Of the kernels' own products (kernels/linear/linear.h): the fastest of 1024 x 1024
/// matrices in 0.3 s, in flop/s. f32 or bf16; the CPU's with all its threads.
double measured_product_rate(Device device, DType type);

/// What NVIDIA publishes, in flop/s: FP32 units, and tensor cores on dense FP16 or BF16 with sums
/// in FP32, both at boost clock.
struct PublishedRate {
  double f32, half;
  const char* source;
};
/// Of the GPU that the driver calls so; null where it isn't in our table.
const PublishedRate* published_product_rate(std::string_view gpu);

}  // namespace hh

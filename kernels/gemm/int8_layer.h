// SPDX-License-Identifier: Apache-2.0
// What is kept of a layer whose products are of bytes, in one array. Private to the CPU kernels.
#pragma once
#include <cstdint>

#include "kernels/core/workspace.h"

namespace hh::cpu {

/// By output; then the bytes p in oneDNN's order. Measures where `packed` is null.
struct Int8Layer {
  Int8Layer(void* packed, int out) {
    Workspace memory(packed);
    scales = memory.take<float>(out);
    corrections = memory.take<std::int32_t>(out);
    weights = memory.rest();
    bytes_before_weights = memory.bytes();
  }
  Int8Layer(const void* packed, int out) : Int8Layer(const_cast<void*>(packed), out) {}

  float* scales;              // t
  std::int32_t* corrections;  // 128 sum_i p[o,i]
  void* weights;
  std::size_t bytes_before_weights;
};

}  // namespace hh::cpu

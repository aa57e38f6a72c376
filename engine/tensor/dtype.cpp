// SPDX-License-Identifier: Apache-2.0
#include "engine/tensor/dtype.h"

#include <stdexcept>
#include <string>

namespace hh {

DType activation_dtype(std::string_view text) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    if (text == name(dtype)) return dtype;
  }
  throw std::invalid_argument("dtype '" + std::string(text) +
                              "': use f32, bf16, f16 or, to encode, int8");
}

}  // namespace hh

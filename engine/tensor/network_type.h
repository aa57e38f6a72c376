// SPDX-License-Identifier: Apache-2.0
// What a network that encodes computes in.
#pragma once
#include <string_view>

#include "engine/tensor/dtype.h"

namespace hh {

struct NetworkType {
  NetworkType(DType type) : activations(type) {}
  /// Products by Parameters::quantise(), all else in f32.
  static NetworkType int8() {
    NetworkType type(DType::f32);
    type.quantised = true;
    return type;
  }
  DType activations;
  bool quantised = false;
};

/// The type called `text`: "f32", "bf16", "f16" (which needs a GPU) or "int8" (which needs a CPU).
/// Throws std::invalid_argument.
inline NetworkType network_type(std::string_view text) {
  return text == "int8" ? NetworkType::int8() : NetworkType(activation_dtype(text));
}

}  // namespace hh

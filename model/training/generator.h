// SPDX-License-Identifier: Apache-2.0
// The goldens' weight and input generator (docs/specification.md, section 7): values that any
// program in any language can make exactly, from a name and a seed.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "engine/tensor/parameter.h"

namespace hh {

/// Weights of a state-dict tensor.
std::vector<float> generated_weights(const std::string& name, const Shape& shape,
                                     std::uint64_t seed);
/// Input images: `count` values in [-2, 2).
std::vector<float> generated_input(std::int64_t count, std::uint64_t seed);

/// Fills all parameters.
void set_generated_weights(Parameters& parameters, std::uint64_t seed);

}  // namespace hh

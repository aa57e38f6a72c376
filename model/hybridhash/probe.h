// SPDX-License-Identifier: Apache-2.0
// A look at the tensors inside a forward pass, by the stage names of the goldens
// (docs/specification.md, section 8).
#pragma once
#include <string>

#include "engine/tensor/tensor.h"

namespace hh {

/// Axis order of the reference's tensor of that name. Ours are always channels-last.
enum class StageLayout { kChannelsLast, kChannelsFirst };

class Probe {
 public:
  virtual ~Probe() = default;
  /// `value` is only valid during the call: the network may overwrite it afterwards.
  virtual void see(const std::string& stage, const Tensor& value, StageLayout layout) = 0;
};

}  // namespace hh

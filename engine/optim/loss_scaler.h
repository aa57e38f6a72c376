// SPDX-License-Identifier: Apache-2.0
// Dynamic loss scaling: gradients in f16 vanish below 6e-8 and overflow above 65504, so the loss is
// multiplied by a factor before backward and the gradients by its inverse before the optimizer,
// which leaves out a step whose gradients aren't finite. Source: Micikevicius et al., arXiv
// 1710.03740, section 3.2.
#pragma once
#include <algorithm>

namespace hh {

struct LossScaler {
  static constexpr float kFirst = 0x1p16f, kLeast = 1, kMost = 0x1p24f;
  static constexpr int kPatience = 2000;  // finite steps before a larger factor is tried

  float scale = kFirst;  // a power of two: scaling rounds nothing
  int finite_steps = 0;  // since the factor last changed

  /// After a step of the optimizer: whether its gradients were finite.
  void update(bool finite) {
    if (!finite) {
      scale = std::max(scale / 2, kLeast);
      finite_steps = 0;
    } else if (++finite_steps == kPatience) {
      scale = std::min(scale * 2, kMost);
      finite_steps = 0;
    }
  }
};

}  // namespace hh

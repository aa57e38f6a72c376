// SPDX-License-Identifier: Apache-2.0
// Fisher-Yates on counter-based random numbers: the order depends on (seed, purpose, index) alone.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/core/philox.h"

namespace hh::data {

inline void shuffle(std::vector<std::int64_t>& items, const Philox& random) {
  for (std::size_t i = items.size(); i > 1; --i) {
    std::swap(items[i - 1], items[random.below(i, std::uint32_t(i))]);
  }
}

}  // namespace hh::data

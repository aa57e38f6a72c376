// SPDX-License-Identifier: Apache-2.0
// Ops on the CPU finish their sums themselves: this is for whoever has rows of his own.
#include "kernels/core/parallel.h"
#include "kernels/elementwise/add_partial_sums.h"

namespace hh::cpu {

void run(const AddPartialSums& p) {
  p.validate();
  for (int i = 0; i < p.count; ++i) {
    const PartialSums& s = p.sums[i];
    parallel_for(s.cols, 64, [&](std::int64_t begin, std::int64_t end) {
      for (int a = 0; a < s.arrays; ++a) {
        if (s.to[a] == nullptr) continue;
        for (std::int64_t k = 0; k < s.count; ++k) {
          const float* const row = s.rows + (k * s.arrays + a) * s.cols;
          for (std::int64_t c = begin; c < end; ++c) s.to[a][c] += row[c];
        }
      }
    });
  }
}

}  // namespace hh::cpu

// SPDX-License-Identifier: Apache-2.0
// Mapping   One thread: a step needs a few thousand numbers, four to a Philox block.
#include <algorithm>

#include "kernels/random/drop_path_scale.h"

namespace hh::cpu {

void run(const DropPathScale& p) {
  p.validate();
  for (int r = 0; r < p.rows; ++r) {
    const Philox random(p.seed, RandomPurpose::kDropPath, std::uint32_t(r));
    const float rate = p.rate[r], kept = 1 / (1 - rate);
    float* row = p.scale + std::int64_t{r} * p.images;
    const int end = p.first + p.images;
    for (int i = p.first; i < end; i = (i / 4 + 1) * 4) {
      const Philox::Block block = random.block((p.step << 30) + std::uint64_t(i / 4));
      for (int at = i; at < std::min((i / 4 + 1) * 4, end); ++at) {
        const float draw = float(block.v[at % 4] >> 8) * 0x1p-24f;
        row[at - p.first] = draw < rate ? 0 : kept;
      }
    }
  }
}

}  // namespace hh::cpu

// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/elementwise/add_partial_sums.h"

namespace hh {

// What a training step leaves: the LayerNorms of all layers, whose blocks leave three rows each.
HH_BENCHMARK(add_partial_sums) {
  for (const auto [ops, count, cols] :
       bench::shapes<3>("NRC", {{6, 128, 64}}, {{36, 264, 128}, {36, 264, 512}})) {
    const std::size_t floats = std::size_t(count) * 3 * std::size_t(cols);
    const Tensor rows = bench::normal<float>(device, floats * std::size_t(ops), 1);
    const Tensor to = bench::normal<float>(device, 3 * std::size_t(cols * ops), 2);
    std::vector<PartialSums> sums;
    for (int i = 0; i < int(ops); ++i) {
      sums.push_back({.rows = rows.data<float>() + floats * std::size_t(i),
                      .count = count,
                      .arrays = 3,
                      .cols = int(cols)});
      for (int a = 0; a < 3; ++a) {
        sums.back().to[a] = to.data<float>() + (3 * i + a) * int(cols);
      }
    }
    bench::measure("add_partial_sums/" + std::to_string(ops) + "x" + std::to_string(count) + "x" +
                       std::to_string(cols),
                   device, AddPartialSums{.sums = sums.data(), .count = int(ops)});
  }
}

}  // namespace hh

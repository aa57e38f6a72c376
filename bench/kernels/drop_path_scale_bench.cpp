// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/random/drop_path_scale.h"

namespace hh {

// Two branches of each of the 19 layers; the published log's batch.
HH_BENCHMARK(drop_path_scale) {
  const int rows = 38, images = 64;
  std::vector<float> rate(rows);
  for (int r = 0; r < rows; ++r) rate[std::size_t(r)] = 0.5f * float(r) / float(rows);
  const Tensor scale({rows, images}, DType::f32, device);
  bench::measure("drop_path_scale/38x64", device,
                 DropPathScale{.rate = rate.data(),
                               .scale = scale.data<float>(),
                               .rows = rows,
                               .images = images,
                               .seed = 1,
                               .step = 1});
}

}  // namespace hh

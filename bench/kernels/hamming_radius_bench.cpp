// SPDX-License-Identifier: Apache-2.0
#include "bench/support/codes.h"
#include "bench/support/harness.h"
#include "kernels/hamming/hamming_radius.h"

namespace hh {

// A million codes around a thousand centres.
HH_BENCHMARK(hamming_radius) {
  const std::int64_t rows = 1'000'000, capacity = 4096;
  for (const std::int64_t queries : {1, 64}) {
    const Tensor database = bench::codes(device, rows, 64, 1, 1000);
    const Tensor query = bench::codes(device, queries, 64, 2, 1000);
    const Tensor counts = Tensor::zeros({queries}, DType::i64, device);
    const Tensor found = Tensor::zeros({queries, capacity}, DType::i64, device);
    const Tensor distances = Tensor::zeros({queries, capacity}, DType::i32, device);
    bench::measure("hamming_radius/64b/" + std::to_string(queries) + "x1M/r8", device,
                   HammingRadius{.queries = bench::words(query),
                                 .database = bench::words(database),
                                 .counts = counts.data<std::int64_t>(),
                                 .rows = found.data<std::int64_t>(),
                                 .distances = distances.data<std::int32_t>(),
                                 .query_count = queries,
                                 .row_count = rows,
                                 .capacity = capacity,
                                 .bits = 64,
                                 .radius = 8});
  }
}

}  // namespace hh

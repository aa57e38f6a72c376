// SPDX-License-Identifier: Apache-2.0
#include "bench/support/codes.h"
#include "bench/support/harness.h"
#include "kernels/hamming/hamming_topk.h"

namespace hh {

// A million codes around a thousand centres.
HH_BENCHMARK(hamming_topk) {
  struct Sizes {
    int bits;
    std::int64_t queries, k;
  };
  const std::int64_t rows = 1'000'000;
  for (const auto& [bits, queries, k] :
       {Sizes{64, 1, 100}, Sizes{64, 256, 100}, Sizes{64, 256, 10}, Sizes{64, 256, 1000},
        Sizes{128, 1, 100}, Sizes{128, 256, 100}, Sizes{256, 1, 100}, Sizes{256, 256, 100},
        Sizes{512, 256, 100}}) {
    const Tensor database = bench::codes(device, rows, bits, 1, 1000);
    const Tensor query = bench::codes(device, queries, bits, 2, 1000);
    const Tensor found = Tensor::zeros({queries, k}, DType::i64, device);
    const Tensor distances = Tensor::zeros({queries, k}, DType::i32, device);
    bench::measure("hamming_topk/" + std::to_string(bits) + "b/" + std::to_string(queries) +
                       "x1M/k" + std::to_string(k),
                   device,
                   HammingTopk{.queries = bench::words(query),
                               .database = bench::words(database),
                               .rows = found.data<std::int64_t>(),
                               .distances = distances.data<std::int32_t>(),
                               .query_count = queries,
                               .row_count = rows,
                               .k = k,
                               .bits = bits});
  }
}

}  // namespace hh

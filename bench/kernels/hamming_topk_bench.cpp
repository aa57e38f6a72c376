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

// Random codes of 64 bits, as many as --N says: 1000000000 where the device has 9 GB.
HH_BENCHMARK(hamming_topk_random) {
  constexpr std::int64_t kNearest = 100;
  for (const auto [rows] : bench::shapes<1>("N", {{1'000'000}}, {{1'000'000}})) {
    Tensor database;
    for (const std::int64_t queries : {1, 1000}) {
      const std::string name = "hamming_topk/random/" + std::to_string(queries) + "x" +
                               std::to_string(rows) + "/k" + std::to_string(kNearest);
      if (!bench::wanted(name)) continue;
      if (!database) database = bench::random_codes(device, rows, 1);
      const Tensor query = bench::random_codes(device, queries, 2);
      const Tensor found = Tensor::zeros({queries, kNearest}, DType::i64, device);
      const Tensor distances = Tensor::zeros({queries, kNearest}, DType::i32, device);
      const HammingTopk args{.queries = bench::words(query),
                             .database = bench::words(database),
                             .rows = found.data<std::int64_t>(),
                             .distances = distances.data<std::int32_t>(),
                             .query_count = queries,
                             .row_count = rows,
                             .k = kNearest,
                             .bits = 64};
      bench::time_case(name, device, args.work(), bench::prepared(device, args));
    }
  }
}

}  // namespace hh

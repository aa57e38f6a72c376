// SPDX-License-Identifier: Apache-2.0
#include "bench/support/codes.h"
#include "bench/support/harness.h"
#include "kernels/hamming/hamming_average_precision.h"

namespace hh {

// ImageNet-100's database with 64 queries, and Fashion-MNIST's.
HH_BENCHMARK(hamming_average_precision) {
  struct Sizes {
    int bits, label_words;
    std::int64_t rows, cut;
  };
  const std::int64_t queries = 64;
  for (const auto& [bits, label_words, rows, cut] :
       {Sizes{64, 2, 128'503, 1000}, Sizes{64, 2, 128'503, 128'503},
        Sizes{32, 1, 64'000, 64'000}}) {
    const Tensor database = bench::codes(device, rows, bits, 1, 100);
    const Tensor query = bench::codes(device, queries, bits, 2, 100);
    std::vector<std::uint64_t> labels(std::size_t(rows * label_words)), query_labels(labels);
    for (std::int64_t i = 0; i < rows; ++i) {  // one class each, of 50 a word
      labels[std::size_t(i * label_words + i % label_words)] = std::uint64_t{1} << (i * 7 % 50);
    }
    const Tensor row_labels = Tensor::from(labels, {rows * label_words}, device);
    const Tensor ap = Tensor::zeros({queries}, DType::f64, device);
    const Tensor hits = Tensor::zeros({queries}, DType::i64, device);
    const Tensor retrieved = Tensor::zeros({queries, bits + 1}, DType::i32, device);
    const Tensor relevant = Tensor::zeros({queries, bits + 1}, DType::i32, device);
    bench::measure(
        "hamming_average_precision/" + std::to_string(bits) + "b/64x" + std::to_string(rows) +
            "/k" + std::to_string(cut),
        device,
        HammingAveragePrecision{.queries = bench::words(query),
                                .query_labels = bench::words(row_labels),
                                .database = bench::words(database),
                                .row_labels = bench::words(row_labels),
                                .ap = ap.data<double>(),
                                .hits = hits.data<std::int64_t>(),
                                .retrieved = reinterpret_cast<std::uint32_t*>(retrieved.raw()),
                                .relevant = reinterpret_cast<std::uint32_t*>(relevant.raw()),
                                .query_count = queries,
                                .row_count = rows,
                                .cut = cut,
                                .bits = bits,
                                .label_words = label_words});
  }
}

}  // namespace hh

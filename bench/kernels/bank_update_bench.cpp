// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/loss/bank_update.h"

namespace hh {
namespace {

template <class T>
void bank_update_bench_of(const char* type, Device device) {
  const int images = 64, bits = 64, words = 2;
  const std::int64_t rows = 13000;
  const Tensor u = bench::normal<float>(device, std::size_t(images) * bits, 1);
  const Tensor bank = bench::normal<T>(device, std::size_t(rows) * bits, 2);
  const Tensor labels = Tensor::zeros({images, words}, DType::u64, device);
  const Tensor bank_labels = Tensor::zeros({rows, words}, DType::u64, device);
  std::vector<std::int64_t> index(images);
  for (std::size_t i = 0; i < index.size(); ++i) index[i] = std::int64_t(i) * 7919 % rows;
  const Tensor rows_of_batch = Tensor::from(index, {images}, device);
  bench::measure(std::string("bank_update/") + type + "/64x64", device,
                 BankUpdate<T>{.u = u.data<float>(),
                               .labels = labels.data<std::uint64_t>(),
                               .index = rows_of_batch.data<std::int64_t>(),
                               .bank = bank.data<T>(),
                               .bank_labels = bank_labels.data<std::uint64_t>(),
                               .images = images,
                               .bank_rows = rows,
                               .bits = bits,
                               .label_words = words});
}

}  // namespace

// A batch of 64 into the bank of ImageNet-100: 13,000 rows of 64 bits, 100 classes.
HH_BENCHMARK(bank_update) {
  bank_update_bench_of<float>("f32", device);
  bank_update_bench_of<f16>("f16", device);
  bank_update_bench_of<bf16>("bf16", device);
}

}  // namespace hh

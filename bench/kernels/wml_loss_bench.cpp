// SPDX-License-Identifier: Apache-2.0
#include "bench/support/harness.h"
#include "kernels/loss/wml_loss.h"

namespace hh {
namespace {

struct BenchShape {
  int images;
  std::int64_t rows;
  int bits, classes;
};

template <class T>
void wml_loss_bench_of(const char* type, const BenchShape& s, Device device) {
  const int words = (s.classes + 63) / 64;
  const auto w = std::size_t(words);
  const auto one_class_each = [&](std::int64_t n, std::uint64_t seed) {
    const Philox random(seed, RandomPurpose::kTest);
    std::vector<std::uint64_t> labels(std::size_t(n) * w);
    for (std::size_t i = 0; i < std::size_t(n); ++i) {
      const std::uint32_t c = random.below(i, std::uint32_t(s.classes));
      labels[i * w + c / 64] = std::uint64_t{1} << (c % 64);
    }
    return Tensor::from(labels, {n, words}, device);
  };
  const auto codes = std::size_t(s.images) * std::size_t(s.bits);
  const Tensor u = bench::normal<float>(device, codes, 1);
  const Tensor bank = bench::normal<T>(device, std::size_t(s.rows) * std::size_t(s.bits), 2);
  const Tensor labels = one_class_each(s.images, 3), bank_labels = one_class_each(s.rows, 4);
  const Tensor loss({1}, DType::f32, device), pairs({2}, DType::i64, device);
  const Tensor du({s.images, s.bits}, DType::f32, device);
  WmlLoss<T> args{.u = u.data<float>(),
                  .labels = labels.data<std::uint64_t>(),
                  .bank = bank.data<T>(),
                  .bank_labels = bank_labels.data<std::uint64_t>(),
                  .loss = loss.data<float>(),
                  .pairs = pairs.data<std::int64_t>(),
                  .images = s.images,
                  .bank_rows = s.rows,
                  .bits = s.bits,
                  .label_words = words};
  const std::string shape = std::string("/") + type + "/" + std::to_string(s.images) + "x" +
                            std::to_string(s.rows) + "x" + std::to_string(s.bits);
  bench::measure("wml_loss_forward" + shape, device, args);
  args.du = du.data<float>();
  bench::measure("wml_loss_forward_backward" + shape, device, args);
}

}  // namespace

// The bank of ImageNet-100 (13,000 rows, 100 classes) with the log's batch, a small one, and short
// codes.
HH_BENCHMARK(wml_loss) {
  for (const BenchShape& s :
       {BenchShape{64, 13000, 64, 100}, {8, 13000, 64, 100}, {64, 13000, 16, 100}}) {
    wml_loss_bench_of<float>("f32", s, device);
    wml_loss_bench_of<f16>("f16", s, device);
  }
  wml_loss_bench_of<bf16>("bf16", {64, 13000, 64, 100}, device);
}

}  // namespace hh

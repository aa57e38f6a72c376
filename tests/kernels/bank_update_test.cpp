// SPDX-License-Identifier: Apache-2.0
#include "kernels/loss/bank_update.h"

#include <catch2/catch.hpp>
#include <cstring>

#include "tests/support/device.h"
#include "tests/support/values.h"

namespace hh {
namespace {

using testing::Array, testing::normal;

TEMPLATE_TEST_CASE("bank_update stores codes and labels in their rows", "[loss]", float, f16,
                   bf16) {
  using T = TestType;
  const Device device = GENERATE(from_range(testing::devices()));
  const int bits = GENERATE(8, 17, 64);
  const int words = GENERATE(1, 3);
  CAPTURE(device, bits, words);
  const std::int64_t rows = 11;
  // Row 4 comes twice: the last wins. Rows -1 and 11 don't exist.
  const std::vector<std::int64_t> index{4, 0, 10, -1, 4, 11, 7};
  const std::size_t images = index.size(), k = std::size_t(bits), w = std::size_t(words);
  const auto u = normal(images * k, 1);
  const auto old = normal<T>(std::size_t(rows) * k, 2);
  std::vector<std::uint64_t> labels(images * w), old_labels(std::size_t(rows) * w);
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = 0x8000000000000001u + i;
  for (std::size_t i = 0; i < old_labels.size(); ++i) old_labels[i] = 1000 + i;
  const Array u_array(device, u), bank(device, old);
  const Array labels_array(device, labels), bank_labels(device, old_labels);
  const Array index_array(device, index);
  const BankUpdate<T> update{.u = u_array.data(),
                             .labels = labels_array.data(),
                             .index = index_array.data(),
                             .bank = bank.data(),
                             .bank_labels = bank_labels.data(),
                             .images = int(images),
                             .bank_rows = rows,
                             .bits = bits,
                             .label_words = words};
  testing::run(device, update);

  std::vector<T> want = old;
  std::vector<std::uint64_t> want_labels = old_labels;
  for (std::size_t i = 0; i < images; ++i) {
    if (index[i] < 0 || index[i] >= rows) continue;
    const std::size_t row = std::size_t(index[i]);
    for (std::size_t n = 0; n < k; ++n) want[row * k + n] = from_float<T>(u[i * k + n]);
    for (std::size_t n = 0; n < w; ++n) want_labels[row * w + n] = labels[i * w + n];
  }
  const std::vector<T> got = bank.host();
  REQUIRE(std::memcmp(got.data(), want.data(), got.size() * sizeof(T)) == 0);
  REQUIRE(bank_labels.host() == want_labels);

  BankUpdate<T> nothing = update;
  nothing.images = 0;
  testing::run(device, nothing);
  REQUIRE(bank_labels.host() == want_labels);
}

TEST_CASE("bank_update names what it refuses", "[loss]") {
  REQUIRE_THROWS_WITH(cpu::run(BankUpdate<float>{.images = -1, .bits = 16}),
                      Catch::Contains("images = -1"));
  REQUIRE_THROWS_WITH(cpu::run(BankUpdate<float>{.bank_rows = -2, .bits = 16}),
                      Catch::Contains("bank_rows = -2"));
  REQUIRE_THROWS_WITH(cpu::run(BankUpdate<float>{.bits = 0}), Catch::Contains("bits = 0"));
  REQUIRE_THROWS_WITH(cpu::run(BankUpdate<f16>{.bits = 16, .label_words = 0}),
                      Catch::Contains("label_words = 0"));
  REQUIRE_THROWS_WITH(cpu::run(BankUpdate<bf16>{.images = 1, .bits = 16}), Catch::Contains("null"));
  REQUIRE_THROWS_WITH(cpu::run(BankUpdate<bf16>{.bank_rows = 1, .bits = 16}),
                      Catch::Contains("array of the bank is null"));
}

}  // namespace
}  // namespace hh

// SPDX-License-Identifier: Apache-2.0
#include "model/training/memory_bank.h"

#include <catch2/catch.hpp>

#include "tests/support/device.h"

namespace hh {
namespace {

using Words = std::vector<std::uint64_t>;

TEST_CASE("a bank holds the last code and labels of each image it has seen", "[memory_bank]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const DType dtype = GENERATE(DType::f32, DType::f16, DType::bf16);
  CAPTURE(device, name(dtype));
  // 70 classes: two words of labels, of which the upper bit of the first must survive.
  constexpr std::uint64_t kTop = std::uint64_t{1} << 63;
  MemoryBank bank(4, 8, 70, dtype, device);
  REQUIRE(bank.rows() == 4);
  CHECK(bank.view().codes.to_host<float>() == std::vector<float>(4 * 8));
  CHECK(bank.view().labels.to_host<std::uint64_t>() == Words(4 * 2));

  const auto store = [&](float value, const Words& labels, const std::vector<std::int64_t>& rows) {
    const auto images = std::int64_t(rows.size());
    const std::vector<float> code(std::size_t(images) * 8, value);
    bank.loss(Tensor::from(code, {images, 8}, device), labels, rows, 0.5f);
  };
  store(0.5f, {kTop, 0, 1, 3}, {2, 0});
  store(-0.25f, {0, 1}, {2});
  const auto codes = bank.view().codes.to_host<float>();
  const std::vector<float> first{codes[0], codes[8], codes[16], codes[24]};
  CHECK(first == std::vector<float>{0.5f, 0, -0.25f, 0});
  CHECK(bank.view().labels.to_host<std::uint64_t>() == Words{1, 3, 0, 0, 0, 1, 0, 0});
}

TEST_CASE("a batch is refilled in place, and rows outside the bank are refused", "[memory_bank]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const MemoryBank bank(3, 8, 2, DType::f32, device);
  const MemoryBank::Batch batch = bank.batch(Words{1, 2}, std::vector<std::int64_t>{0, 2});
  const std::byte* const memory = batch.labels.raw();
  bank.refill(batch, Words{2, 2}, std::vector<std::int64_t>{1, 0});
  CHECK(batch.labels.raw() == memory);
  CHECK(batch.labels.to_host<std::uint64_t>() == Words{2, 2});
  CHECK(batch.indices.to_host<std::int64_t>() == std::vector<std::int64_t>{1, 0});
  for (const std::int64_t row : {-1, 3}) {
    CHECK_THROWS_WITH(
        bank.batch(Words{1}, std::vector<std::int64_t>{row}),
        Catch::Contains("training image " + std::to_string(row)) && Catch::Contains("3 rows"));
  }
  CHECK_THROWS_AS(MemoryBank(0, 8, 2, DType::f32, device), std::invalid_argument);
  CHECK_THROWS_AS(MemoryBank(1, 8, 0, DType::f32, device), std::invalid_argument);
}

}  // namespace
}  // namespace hh

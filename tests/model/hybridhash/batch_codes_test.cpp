// SPDX-License-Identifier: Apache-2.0
#include "model/hybridhash/batch_codes.h"

#include <catch2/catch.hpp>

#include "kernels/core/philox.h"
#include "tests/support/device.h"

namespace hh {
namespace {

HybridHashConfig tiny() {
  HybridHashConfig config;
  config.image_size = 16;
  config.patch = 2;
  config.dims = {8, 16, 16};
  config.heads = {1, 2, 2};
  config.depths = {1, 1, 1};
  config.bits = 16;
  config.drop_path = 0;
  return config;
}

/// Batches of these sizes, each of other pixels.
std::vector<std::vector<std::uint8_t>> batches_of(const std::vector<int>& sizes) {
  const Philox random(3, RandomPurpose::kTest);
  std::uint64_t draw = 0;
  std::vector<std::vector<std::uint8_t>> batches;
  for (const int images : sizes) {
    auto& pixels = batches.emplace_back(std::size_t(images) * 16 * 16 * 3);
    for (auto& pixel : pixels) pixel = std::uint8_t(random.below(draw++, 256));
  }
  return batches;
}

struct Network {
  explicit Network(Device device_, DType type) : device(device_), network(tiny(), parameters) {
    parameters.place(device, type, /*trainable=*/false);
    parameters.initialise(1);
  }
  Device device;
  Parameters parameters;
  HybridHash network;
};

TEST_CASE("a batch that is too large for the cache has the codes of its images", "[batch_codes]") {
  // In float32: oneDNN doesn't promise bf16's bits for other numbers of rows.
  const DType type = DType::f32;
  const Network n(kCpu, type);
  // An image's widest activations here take 8 KiB: 1024 images are computed at a time at most.
  for (const int images : {1024, 1025, 2100}) {
    CAPTURE(images);
    const std::vector<std::uint8_t> pixels = batches_of({images})[0];
    BatchCodes codes(n.network, {}, type, kCpu);
    CHECK_FALSE(codes.put(pixels).has_value());
    const auto got = codes.finish();
    const Tensor rows = patch_rows(n.network, pixels, {}, type, kCpu);
    CHECK(got == n.network.forward(rows).code.to_host<float>());
  }
}

TEST_CASE("batches one after the other have the codes of each alone, recorded or not",
          "[batch_codes]") {
  const Device device = GENERATE(from_range(testing::devices()));
  const DType type = GENERATE(DType::f32, DType::bf16);
  CAPTURE(device, int(type));
  const Network n(device, type);
  // Short ones between full ones, a size that comes too often to be new, and one that never does again.
  const std::vector<int> sizes{3, 3, 3, 2, 3, 2, 1, 3, 2, 5};
  const auto batches = batches_of(sizes);
  std::vector<std::vector<float>> alone;
  for (const auto& pixels : batches) {
    const Tensor rows = patch_rows(n.network, pixels, {}, type, device);
    alone.push_back(n.network.forward(rows).code.to_host<float>());
  }
  for (const bool graph : {true, false}) {
    BatchCodes codes(n.network, {}, type, device, graph);
    CHECK_FALSE(codes.finish().has_value());
    std::vector<std::vector<float>> got;
    for (const auto& pixels : batches) {
      auto reused = pixels;
      if (auto before = codes.put(reused)) got.push_back(std::move(*before));
      std::fill(reused.begin(), reused.end(), std::uint8_t{7});  // the caller's again
    }
    if (auto last = codes.finish()) got.push_back(std::move(*last));
    CHECK_FALSE(codes.finish().has_value());
    CHECK(got == alone);
    const bool may = graph && device != kCpu;
    CHECK(codes.recorded(3) == may);
    CHECK(codes.recorded(2) == may);
    CHECK_FALSE(codes.recorded(5));
    // More follow.
    CHECK_FALSE(codes.put(batches[0]).has_value());
    CHECK(codes.finish() == alone[0]);
  }
}

TEST_CASE("of many sizes a few are recorded", "[batch_codes]") {
  for (const Device device : testing::devices()) {
    if (device == kCpu) continue;
    const Network n(device, DType::f32);
    BatchCodes codes(n.network, {}, DType::f32, device);
    std::size_t recorded = 0;
    for (int images = 1; images <= 6; ++images) {
      const auto pixels = batches_of({images})[0];
      for (int i = 0; i < 2; ++i) codes.put(pixels);
      recorded += codes.recorded(images) ? 1 : 0;
    }
    CHECK(recorded == BatchCodes::kMostRecorded);
  }
}

}  // namespace
}  // namespace hh

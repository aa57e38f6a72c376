// SPDX-License-Identifier: Apache-2.0
// Training on a GPU that is nearly full. Hidden, since it takes all memory of the GPU: for the
// simulator, with a small one (--memory).
#include <array>
#include <catch2/catch.hpp>
#include <vector>

#include "engine/device/backend.h"
#include "engine/device/memory.h"
#include "model/training/trainer.h"
#include "tests/support/device.h"

namespace hh {
namespace {

/// All memory of a GPU but so many bytes, for its own lifetime.
class AllBut {
 public:
  AllBut(Device device, std::size_t left) : on_(backend(device)) {
    release_cached_memory(device);
    void* const spared = on_.allocate(left);
    for (std::size_t size = std::size_t{1} << 40; size >= 4096;) {
      try {
        blocks_.push_back(on_.allocate(size));
      } catch (const OutOfMemory&) {
        size /= 2;
      }
    }
    on_.release(spared);
  }
  ~AllBut() {
    for (void* block : blocks_) on_.release(block);
  }
  AllBut(const AllBut&) = delete;
  AllBut& operator=(const AllBut&) = delete;

 private:
  Backend& on_;
  std::vector<void*> blocks_;
};

enum class End { kNoMemory, kUnrecorded, kRecorded };

/// How a second step, the one that is recorded where it can be, ends with so much memory free.
End second_step(Device device, std::size_t left) {
  TrainerConfig config;
  config.model.image_size = 16;
  config.model.patch = 2;
  config.model.dims = {8, 16, 16};
  config.model.heads = {1, 2, 2};
  config.model.depths = {1, 1, 1};
  config.model.bits = 16;
  config.bank_rows = 24;
  config.classes = 3;
  config.graph = true;
  Trainer trainer(config, device);
  trainer.parameters().initialise(1);
  const std::vector<std::uint8_t> pixels(std::size_t{8} * 16 * 16 * 3, 100);
  const std::vector<std::uint64_t> labels(8, 1);
  const std::vector<std::int64_t> rows{0, 1, 2, 3, 4, 5, 6, 7};
  const auto step = [&] {
    const Tensor loss = trainer.accumulate(pixels, labels, rows);
    trainer.step(1e-3f);
    return loss.to_host<float>()[0];
  };
  const float first = step();
  const AllBut full(device, left);
  try {
    const float second = step();
    CHECK(second != first);
  } catch (const OutOfMemory&) {
    return End::kNoMemory;
  }
  return trainer.recorded() ? End::kRecorded : End::kUnrecorded;
}

TEST_CASE("where memory doesn't suffice for a recording, steps run without one", "[.full_gpu]") {
  const Device device = testing::devices().front();
  REQUIRE(device != kCpu);
  // An eager step gives cached blocks of other sizes back when memory runs out; a recording can't,
  // so there are sizes between which only the former fits.
  std::array<int, 3> ends{};
  for (const std::size_t mebibytes : {8, 12, 16, 64}) {
    CAPTURE(mebibytes);
    ++ends[std::size_t(second_step(device, mebibytes << 20))];
  }
  CHECK(ends[std::size_t(End::kNoMemory)] > 0);
  CHECK(ends[std::size_t(End::kUnrecorded)] > 0);
  CHECK(ends[std::size_t(End::kRecorded)] > 0);
}

}  // namespace
}  // namespace hh

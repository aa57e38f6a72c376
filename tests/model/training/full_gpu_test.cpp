// SPDX-License-Identifier: Apache-2.0
// Training on a GPU that is nearly full. Hidden, since it takes all memory of the GPU: for the
// simulator, with a small one (--memory).
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "engine/device/backend.h"
#include "engine/device/memory.h"
#include "engine/text/log.h"
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

struct Second {
  End end = End::kNoMemory;
  float loss = 0;  // unless there was no memory
};

/// How a second step, the one that is recorded where it can be, ends with so much memory free.
Second second_step(Device device, std::size_t left) {
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
    return {trainer.recorded() ? End::kRecorded : End::kUnrecorded, second};
  } catch (const OutOfMemory&) {
    return {};
  }
}

TEST_CASE("a GPU that is nearly full trains without recordings and products' workspaces",
          "[.full_gpu]") {
  const Device device = testing::devices().front();
  REQUIRE(device != kCpu);
  std::vector<std::string> said;
  set_log([&](LogLevel level, const std::string& text) {
    if (level == LogLevel::kWarning) said.push_back(text);
  });
  constexpr std::size_t kWorkspace = std::size_t{32} << 20;  // of a product (kernels/gemm/gemm.cuh)
  // Of two sizes, since convolutions want some more beside it.
  const Second ample = second_step(device, 4 * kWorkspace);
  CHECK(ample.end == End::kRecorded);
  CHECK(said.empty());

  // A recording gives up where a workspace can't be had, a step goes on without: with the same bits
  // here, since the simulator's products add up in one order.
  const Second tight = second_step(device, kWorkspace / 2);
  CHECK(tight.end == End::kUnrecorded);
  CHECK(tight.loss == ample.loss);
  CHECK(said.size() == 1);

  // A step gives cached blocks of other sizes back when memory runs out, a recording can't. So with
  // the least memory that a step runs in there is none.
  std::size_t too_little = 4096, enough = kWorkspace / 2;
  REQUIRE(second_step(device, too_little).end == End::kNoMemory);
  while (enough - too_little > 4096) {
    const std::size_t middle = (too_little + enough) / 2;
    (second_step(device, middle).end == End::kNoMemory ? too_little : enough) = middle;
  }
  CAPTURE(enough);
  const Second least = second_step(device, enough);
  CHECK(least.end == End::kUnrecorded);
  CHECK(least.loss == ample.loss);
  CHECK(said.size() == 1);
  set_log({});
}

}  // namespace
}  // namespace hh

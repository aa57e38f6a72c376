// SPDX-License-Identifier: Apache-2.0
#include "engine/device/launch.h"

#include <catch2/catch.hpp>

#include "kernels/elementwise/add.h"

namespace hh {
namespace {

TEST_CASE("f16 activations on the CPU are refused with the cure", "[launch]") {
  f16 x{}, y{};
  CHECK_THROWS_WITH(launch(kCpu, Add<f16>{.x = &x, .y = &y, .n = 1}),
                    "the network runs in f16 on a GPU only; use bf16 or f32 on the CPU");
}

}  // namespace
}  // namespace hh

// SPDX-License-Identifier: Apache-2.0
// A GPU that is here but gives no memory. Hidden: --deny=malloc:all simulates it.
#include <catch2/catch.hpp>

#include "engine/device/device.h"

namespace hh {
namespace {

TEST_CASE("auto takes the CPU when the GPU can't be used", "[.unusable_gpu]") {
  CHECK(parse_device("auto") == kCpu);
  CHECK_THROWS_AS(parse_device("cuda"), DeviceUnavailable);
  CHECK_THROWS_WITH(parse_device("cuda"), Catch::Contains("GPU 0 can't be used") &&
                                              Catch::Contains("--device cpu") &&
                                              !Catch::Contains(".cpp"));
}

}  // namespace
}  // namespace hh

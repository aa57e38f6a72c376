// SPDX-License-Identifier: Apache-2.0
// What a user reads of a GPU that is here but can't be used. Hidden: it needs a GPU, and the first
// test one that gives no memory (--deny=malloc:all simulates it).
#include <catch2/catch.hpp>
#include <string>

#include "engine/device/backend.h"
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

TEST_CASE("a failed CUDA call is one line: its name, CUDA's text and a cure", "[.failed_call]") {
  Backend& cuda = backend(parse_device("cuda"));
  std::string said;
  try {
    cuda.zero(nullptr, 16);
  } catch (const DeviceError& error) {
    said = error.what();
  }
  CHECK(said ==
        "cudaMemsetAsync failed on the GPU: invalid argument; see what nvidia-smi says of it, or "
        "use --device cpu");
}

}  // namespace
}  // namespace hh

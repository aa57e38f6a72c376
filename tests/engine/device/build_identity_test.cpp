// SPDX-License-Identifier: Apache-2.0
// The program beside a libhh_cuda.so of another build.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "engine/device/device.h"

namespace hh {
namespace {

// What the test below runs in a program of its own, since a program loads the library once.
TEST_CASE("a libhh_cuda.so of another build is refused", "[.other_build]") {
  CHECK_THROWS_WITH(parse_device("cuda"),
                    "libhh_cuda.so is of another build than this program; build and copy the two "
                    "together, or use --device cpu");
  CHECK(parse_device("auto") == kCpu);
}

TEST_CASE("a libhh_cuda.so of another build isn't used", "[device]") {
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe");
  const std::string folder = (self.parent_path() / "other_build").string();
  REQUIRE(std::filesystem::exists(folder + "/libhh_cuda.so"));
  const std::string command =
      "LD_LIBRARY_PATH='" + folder + "' '" + self.string() + "' '[.other_build]' >/dev/null";
  CHECK(std::system(command.c_str()) == 0);
}

}  // namespace
}  // namespace hh

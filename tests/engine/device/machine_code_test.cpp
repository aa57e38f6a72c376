// SPDX-License-Identifier: Apache-2.0
#include "engine/device/cuda/machine_code.h"

#include <catch2/catch.hpp>

namespace hh {
namespace {

TEST_CASE("a GPU runs machine code of its generation, the newest that is no newer", "[device]") {
  const std::string ptx = "PTX, which the driver compiles on first use";
  const std::string all = "80,86,89,90,100,120";
  CHECK(machine_code_for("", 9, 0) == ptx);
  CHECK(machine_code_for("90", 9, 0) == "machine code for sm_90");
  CHECK(machine_code_for("90", 8, 0) == ptx);
  CHECK(machine_code_for("90", 10, 0) == ptx);
  CHECK(machine_code_for("89", 8, 6) == ptx);
  CHECK(machine_code_for(all, 8, 0) == "machine code for sm_80");
  CHECK(machine_code_for(all, 8, 7) == "machine code for sm_86");
  CHECK(machine_code_for(all, 8, 9) == "machine code for sm_89");
  CHECK(machine_code_for("89,80,86", 8, 9) == "machine code for sm_89");
  CHECK(machine_code_for(all, 10, 3) == "machine code for sm_100");
  CHECK(machine_code_for(all, 11, 0) == ptx);
  CHECK(machine_code_for(all, 12, 1) == "machine code for sm_120");
}

}  // namespace
}  // namespace hh

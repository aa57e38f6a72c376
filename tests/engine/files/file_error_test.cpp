// SPDX-License-Identifier: Apache-2.0
#include "engine/files/file_error.h"

#include <catch2/catch.hpp>

#include "engine/files/file.h"

namespace hh {
namespace {

using Catch::Contains;

TEST_CASE("a full disk is told from other reasons by its type", "[file_error]") {
  // The kernel's disk that is always full.
  CHECK_THROWS_AS(append_line("/dev/full", "x\n"), DiskFull);
  CHECK_THROWS_WITH(append_line("/dev/full", "x\n"), Contains("/dev/full: can't be written: "));
  bool other = false;
  try {
    append_line("/nowhere/at/all", "x\n");
  } catch (const DiskFull&) {
    other = false;
  } catch (const std::runtime_error&) {
    other = true;
  }
  CHECK(other);
}

}  // namespace
}  // namespace hh

// SPDX-License-Identifier: Apache-2.0
// libheif, where it is installed, behind our checks.
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return hh::fuzz::decode({data, size});
}

// SPDX-License-Identifier: Apache-2.0
// Our BMP decoder.
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return hh::fuzz::decode({data, size});
}

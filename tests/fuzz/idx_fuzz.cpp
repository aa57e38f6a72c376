// SPDX-License-Identifier: Apache-2.0
#include "data/sets/idx.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto array = hh::data::parse_idx({data, size});
    std::int64_t count = 1;
    for (const std::int64_t n : array.shape) count *= n;
    hh::fuzz::require(count == std::int64_t(array.values.size()));
  } catch (const std::runtime_error&) {
  }
  return 0;
}

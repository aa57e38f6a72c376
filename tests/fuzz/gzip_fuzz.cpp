// SPDX-License-Identifier: Apache-2.0
#include "data/sets/gunzip.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kMax = 1 << 18;
  try {
    const auto out = hh::data::gunzip({data, data + size}, kMax);
    hh::fuzz::require(out.size() <= (size > kMax ? size : kMax));
  } catch (const std::runtime_error&) {
  }
  return 0;
}

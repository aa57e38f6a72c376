// SPDX-License-Identifier: Apache-2.0
#include "retrieval/files/npy.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto array =
        hh::retrieval::parse_npy<std::uint8_t>(std::as_bytes(std::span(data, size)), "input");
    hh::fuzz::require(array.values.size() <= size);
  } catch (const std::runtime_error&) {
  }
  return 0;
}

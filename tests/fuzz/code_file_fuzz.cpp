// SPDX-License-Identifier: Apache-2.0
#include "retrieval/codes/code_file.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    hh::retrieval::parse_code_file(std::as_bytes(std::span(data, size)), "input").validate();
  } catch (const std::runtime_error&) {
  }
  return 0;
}

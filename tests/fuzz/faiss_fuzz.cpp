// SPDX-License-Identifier: Apache-2.0
#include "retrieval/files/faiss_file.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto all = hh::retrieval::parse_faiss_file(std::as_bytes(std::span(data, size)), "input");
    hh::fuzz::require(all.codes.count() == std::int64_t(all.ids.size()));
  } catch (const std::runtime_error&) {
  }
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "engine/files/safetensors.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto file = hh::SafetensorsFile::parse(std::as_bytes(std::span(data, size)), "x");
    for (const std::string& name : file.names()) {
      try {
        hh::fuzz::require(std::int64_t(file.to_floats(name).size()) == file.entry(name).count());
        file.to_int64s(name);
      } catch (const std::runtime_error&) {  // a type that doesn't convert
      }
    }
  } catch (const std::runtime_error&) {
  }
  return 0;
}

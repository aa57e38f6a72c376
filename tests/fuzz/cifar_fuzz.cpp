// SPDX-License-Identifier: Apache-2.0
#include <vector>

#include "data/sets/cifar.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::uint8_t> pixels, classes;
  try {
    hh::data::parse_cifar10({data, size}, pixels, classes);
    hh::fuzz::require(classes.size() * 3073 == size && pixels.size() == classes.size() * 3072);
  } catch (const std::runtime_error&) {
    hh::fuzz::require(pixels.empty() && classes.empty());
  }
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "data/experiments/split.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    constexpr std::int64_t kItems = 9;
    hh::data::check_split(hh::data::parse_split(hh::fuzz::text({data, size}), "cifar10", kItems),
                          kItems);
  } catch (const std::runtime_error&) {
  }
  return 0;
}

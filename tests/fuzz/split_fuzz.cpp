// SPDX-License-Identifier: Apache-2.0
#include "data/experiments/split_file.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto saved = hh::data::parse_split(hh::fuzz::text({data, size}));
    hh::data::check_split(saved.split, saved.items);
  } catch (const std::runtime_error&) {
  }
  return 0;
}

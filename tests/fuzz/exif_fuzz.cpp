// SPDX-License-Identifier: Apache-2.0
#include "data/images/decode_formats.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const int orientation = hh::data::exif_orientation({data, size});
  hh::fuzz::require(orientation >= 1 && orientation <= 8);
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// The fault that scripts/sanitize.sh memory looks for, made on purpose: a palette shorter than what
// the pixels ask for, whose other colours come out of memory that was never written. Valgrind must
// fail here, or the check of the decoders says nothing.
#include <memory>

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kColours = 256, kGiven = 4;
  const std::unique_ptr<std::uint8_t[]> palette(new std::uint8_t[kColours]);
  for (std::size_t i = 0; i < kGiven; ++i) palette[i] = std::uint8_t(i);
  hh::data::Image image;
  image.reshape(1, int(size), 1);
  for (std::size_t i = 0; i < size; ++i) image.pixels[i] = palette[data[i]];
  hh::fuzz::require_whole(image);
  return 0;
}

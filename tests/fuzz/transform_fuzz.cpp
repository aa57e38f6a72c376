// SPDX-License-Identifier: Apache-2.0
// Sizes, crops and flips from the input; memory around the result is guarded by the sanitizer.
#include <vector>

#include "data/images/transform.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kParameters = 12;
  if (size < kParameters) return 0;
  hh::data::TransformSpec spec;
  spec.size = 1 + data[0] % 40;
  spec.channels = data[1] % 2 ? 1 : 3;
  spec.resize = hh::data::Resize(data[2] % 3);
  spec.resize_to = 1 + data[3] % 64;
  spec.crop = hh::data::Crop(data[4] % 3);
  spec.max_shift = data[5] % (spec.size + 1);
  spec.flip_probability = float(data[6]) / 255;
  hh::data::Image image;
  image.reshape(1 + (data[7] + 256 * data[8]) % 200, 1 + data[9], data[10] % 2 ? 1 : 3);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    image.pixels[i] = data[kParameters - 1 + i % (size - kParameters + 1)];
  }
  std::vector<std::uint8_t> out(std::size_t(spec.size * spec.size * spec.channels));
  hh::data::Transformer transformer(spec);
  const hh::data::Image copy = image;
  for (std::uint64_t i = 0; i < 3; ++i) {
    image = copy;
    transformer.run(image, {i, 0, i}, out.data());
  }
  return 0;
}

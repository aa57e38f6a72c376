// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "data/images/decode_formats.h"
#include "tests/support/images.h"

namespace hh::data {
namespace {

using testing::Bytes;
using testing::exif_block;

TEST_CASE("EXIF: the orientation, in both byte orders", "[data][exif]") {
  for (const bool little : {false, true}) {
    for (int o = 1; o <= 8; ++o) REQUIRE(exif_orientation(exif_block(o, little)) == o);
    REQUIRE(exif_orientation(exif_block(0, little)) == 1);
    REQUIRE(exif_orientation(exif_block(9, little)) == 1);
  }
}

TEST_CASE("EXIF: damaged blocks count as upright and aren't read past", "[data][exif]") {
  const Bytes block = exif_block(6, true);
  constexpr std::size_t kEndOfEntry = 6 + 8 + 2 + 12;
  for (std::size_t n = 0; n < block.size(); ++n) {
    const Bytes cut(block.begin(), block.begin() + std::ptrdiff_t(n));
    REQUIRE(exif_orientation(cut) == (n < kEndOfEntry ? 1 : 6));
  }
  for (std::size_t i = 0; i < block.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes damaged = block;
      damaged[i] ^= std::uint8_t(1 << bit);
      const int found = exif_orientation(damaged);
      REQUIRE(found >= 1);
      REQUIRE(found <= 8);
    }
  }
  Bytes far = block;
  std::fill_n(far.begin() + 10, 4, std::uint8_t{0xff});  // the directory's offset: 2^32 - 1
  REQUIRE(exif_orientation(far) == 1);
  Bytes many = block;
  many[14] = many[15] = 0xff;  // 65,535 entries
  many[16] = 0;                // none of them found
  REQUIRE(exif_orientation(many) == 1);
}

TEST_CASE("turning eight ways, by corner", "[data][exif]") {
  // 2 x 3 pixels 1 2 3 / 4 5 6 and what EXIF's eight orientations make of them.
  const Bytes wanted[] = {{1, 2, 3, 4, 5, 6}, {3, 2, 1, 6, 5, 4}, {6, 5, 4, 3, 2, 1},
                          {4, 5, 6, 1, 2, 3}, {1, 4, 2, 5, 3, 6}, {4, 1, 5, 2, 6, 3},
                          {6, 3, 5, 2, 4, 1}, {3, 6, 2, 5, 1, 4}};
  for (int o = 1; o <= 8; ++o) {
    Image image{2, 3, 1, {1, 2, 3, 4, 5, 6}};
    turn_upright(image, o);
    INFO("orientation " << o);
    REQUIRE(image.pixels == wanted[o - 1]);
    REQUIRE(image.height == (o >= 5 ? 3 : 2));
  }
}

}  // namespace
}  // namespace hh::data

// SPDX-License-Identifier: Apache-2.0
#include "kernels/core/label_bits.h"

#include <catch2/catch.hpp>

namespace hh {
namespace {

TEST_CASE("labels are a bit a class", "[label_bits]") {
  CHECK(label_words(1) == 1);
  CHECK(label_words(64) == 1);
  CHECK(label_words(65) == 2);
  std::vector<float> hot(2 * 70);
  hot[0] = hot[63] = hot[64] = 1;
  hot[70 + 69] = -.5f;  // whatever isn't 0
  const auto words = pack_labels(hot, 2, 70);
  CHECK(words == std::vector<std::uint64_t>{1 | std::uint64_t{1} << 63, 1, 0, 1 << 5});
  std::vector<std::uint64_t> again(4);
  for (const int c : {0, 63, 64}) set_label(again.data(), c);
  set_label(again.data() + 2, 69);
  CHECK(again == words);
  for (int c = 0; c < 70; ++c) CHECK(has_label(words.data(), c) == (hot[std::size_t(c)] != 0));
  CHECK_THROWS_WITH(pack_labels(hot, 3, 70), Catch::Contains("140 values"));
  CHECK_THROWS_WITH(pack_labels(hot, 140, 0), Catch::Contains("0 classes"));
}

}  // namespace
}  // namespace hh

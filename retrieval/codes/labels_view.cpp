// SPDX-License-Identifier: Apache-2.0
#include "retrieval/codes/labels_view.h"

#include "kernels/core/check.h"

namespace hh::retrieval {

std::vector<std::uint64_t> pack_labels(std::span<const std::uint8_t> multi_hot, std::int64_t count,
                                       int classes) {
  HH_REQUIRE(classes >= 1, "labels of " << classes << " classes");
  const auto width = std::size_t(classes);
  HH_REQUIRE(
      count >= 0 && multi_hot.size() % width == 0 && multi_hot.size() / width == std::size_t(count),
      "labels of " << count << " items and " << classes << " classes can't be " << multi_hot.size()
                   << " bytes");
  const std::size_t words = (width + 63) / 64;
  std::vector<std::uint64_t> packed(std::size_t(count) * words);
  for (std::size_t i = 0; i < std::size_t(count); ++i) {
    for (std::size_t c = 0; c < width; ++c) {
      packed[i * words + c / 64] |= std::uint64_t{multi_hot[i * width + c] != 0} << (c % 64);
    }
  }
  return packed;
}

}  // namespace hh::retrieval

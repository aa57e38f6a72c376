// SPDX-License-Identifier: Apache-2.0
// How much of a row a scan looks at first. Most rows are too far by a part of their bits already,
// and then the others needn't be looked at.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>

namespace hh::cpu {

class EarlyCheck {
 public:
  /// Of `all` nibbles, an even number, those after which random rows are beyond the bound: so many
  /// that all but one row in 4000 are.
  int first_planes(int bound, int all) const {
    if (works_rarely(4)) return all;
    const int planes = kSure[std::size_t(std::clamp(bound, 0, kMaxBits))];
    return planes <= all - 2 ? planes : all;
  }
  /// The same in words: 1, 2, 4 or all. Looking at the rest is little more work than at these, so for
  /// all but one row in 200.
  int first_words(int bound, int all) const {
    if (works_rarely(2)) return all;
    const int words = (kLikely[std::size_t(std::clamp(bound, 0, kMaxBits))] + 15) / 16;
    for (const int few : {1, 2, 4}) {
      if (words <= few && few < all) return few;
    }
    return all;
  }

  /// Of blocks; those that failed had to be looked at whole.
  std::int64_t tried = 0, failed = 0;

 private:
  static constexpr int kMaxBits = 512;
  /// By bound, nibbles. One of a random row differs by 2 bits with a variance of 1, so c of them give
  /// 2c - s sqrt(c) or more for all rows but those beyond s sigmas.
  static constexpr auto planes_by_bound(int sixteenths_of_squared_sigmas) {
    std::array<std::int16_t, kMaxBits + 1> planes{};
    for (int bound = 0; bound <= kMaxBits; ++bound) {
      int c = bound / 4 * 2 + 2;  // even, and 2c > bound
      while (16 * (2 * c - bound) * (2 * c - bound) <= sixteenths_of_squared_sigmas * c) c += 2;
      planes[std::size_t(bound)] = std::int16_t(c);
    }
    return planes;
  }
  static const std::array<std::int16_t, kMaxBits + 1> kSure, kLikely;

  /// So among codes that agree in their first bits.
  bool works_rarely(int in) const { return tried > 1024 && failed > tried / in; }
};

inline constexpr std::array<std::int16_t, EarlyCheck::kMaxBits + 1> EarlyCheck::kSure =
    planes_by_bound(196);  // 3.5 sigmas
inline constexpr std::array<std::int16_t, EarlyCheck::kMaxBits + 1> EarlyCheck::kLikely =
    planes_by_bound(108);  // 2.6

}  // namespace hh::cpu

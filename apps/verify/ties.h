// SPDX-License-Identifier: Apache-2.0
// Max pools whose two best candidates lie closer together than float32 can tell. Which one wins is
// then a matter of rounding, and the loser's gradient moves to the winner: not an error, but more
// than rounding (docs/specification.md, section 9: "Judge gradients by l2 as well").
#pragma once
#include <cstdint>
#include <span>

namespace hh::apps {

class PoolTies {
 public:
  /// Looks at the input of a 3x3 max pool of stride 2 and padding 1: maps of `side` x `side`.
  void see_channels_first(std::span<const float> values, int side);
  void see_channels_last(std::span<const float> values, int side, int channels);

  std::int64_t near_ties() const { return near_ties_; }
  /// The relative l2 error that gradients may have if every near-tied window went the other way.
  double l2_allowance() const;

 private:
  template <class At>
  void see_map(const At& at, int side, float close);
  std::int64_t near_ties_ = 0;
  double squares_ = 0;  // sum over pools of 2 * near ties / windows
};

}  // namespace hh::apps

// SPDX-License-Identifier: Apache-2.0
#include "apps/verify/ties.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace hh::apps {
namespace {

// Of the map's largest magnitude. Stages of a float32 network, PyTorch's and ours, are that far
// from the float64 reference.
constexpr double kCloseness = 2e-6;
// However many near ties there are, gradients must still be the network's.
constexpr double kMostL2 = 1e-2;

float closeness(std::span<const float> values) {
  float largest = 0;
  for (const float v : values) largest = std::max(largest, std::abs(v));
  return float(kCloseness * double(largest));
}

}  // namespace

template <class At>
void PoolTies::see_map(const At& at, int side, float close) {
  for (int i = 0; i < side; i += 2) {
    for (int j = 0; j < side; j += 2) {
      float best = -INFINITY, second = -INFINITY;
      for (int y = std::max(i - 1, 0); y <= std::min(i + 1, side - 1); ++y) {
        for (int x = std::max(j - 1, 0); x <= std::min(j + 1, side - 1); ++x) {
          const float v = at(y * side + x);
          second = std::max(second, std::min(best, v));
          best = std::max(best, v);
        }
      }
      near_ties_ += best - second <= close;
    }
  }
}

void PoolTies::see_channels_first(std::span<const float> values, int side) {
  const std::size_t area = std::size_t(side) * std::size_t(side), maps = values.size() / area;
  const float close = closeness(values);
  const std::int64_t before = near_ties_;
  for (std::size_t m = 0; m < maps; ++m) {
    see_map([&](int pixel) { return values[m * area + std::size_t(pixel)]; }, side, close);
  }
  const double windows = double(maps) * std::pow((side - 1) / 2 + 1, 2);
  squares_ += 2 * double(near_ties_ - before) / windows;
}

void PoolTies::see_channels_last(std::span<const float> values, int side, int channels) {
  const std::size_t area = std::size_t(side) * std::size_t(side), c = std::size_t(channels);
  std::vector<float> first(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t image = i / (area * c), pixel = i / c % area, k = i % c;
    first[(image * c + k) * area + pixel] = values[i];
  }
  see_channels_first(first, side);
}

// A window that goes the other way takes its gradient from one element and gives it to another: of
// N windows with gradients alike, n change the l2 norm by sqrt(2 n / N) of itself.
double PoolTies::l2_allowance() const { return std::min(kMostL2, std::sqrt(squares_)); }

}  // namespace hh::apps

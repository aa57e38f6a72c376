// SPDX-License-Identifier: Apache-2.0
#include "engine/device/late_sums.h"

#include <algorithm>
#include <utility>

#include "engine/device/launch.h"
#include "kernels/elementwise/add_partial_sums.h"

namespace hh {
namespace {

thread_local LateSums* innermost = nullptr;

bool share_an_array(const PartialSums& a, const PartialSums& b) {
  return std::any_of(std::begin(a.to), std::end(a.to), [&](const float* to) {
    return to != nullptr && std::find(std::begin(b.to), std::end(b.to), to) != std::end(b.to);
  });
}

}  // namespace

LateSums* LateSums::current() { return innermost; }
LateSums::LateSums() : previous_(std::exchange(innermost, this)) {}
LateSums::~LateSums() { innermost = previous_; }

void LateSums::add(const PartialSums& sums, std::unique_ptr<Storage> rows) {
  const bool other_device = !rows_.empty() && rows_.back()->device() != rows->device();
  if (other_device || std::any_of(sums_.begin(), sums_.end(), [&](const PartialSums& waiting) {
        return share_an_array(waiting, sums);
      })) {
    finish();
  }
  sums_.push_back(sums);
  rows_.push_back(std::move(rows));
}

void LateSums::finish() {
  if (sums_.empty()) return;
  launch(rows_.front()->device(), AddPartialSums{.sums = sums_.data(), .count = int(sums_.size())});
  sums_.clear();
  rows_.clear();
}

}  // namespace hh

// SPDX-License-Identifier: Apache-2.0
#include "retrieval/index/filter_masks.h"

#include <algorithm>

namespace hh::retrieval {

std::shared_ptr<const RowMask> FilterMasks::find(const std::string& filter) {
  const std::scoped_lock lock(mutex_);
  const auto at = std::find_if(entries_.begin(), entries_.end(),
                               [&](const Entry& entry) { return entry.first == filter; });
  if (at == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, at);
  return at->second;
}

void FilterMasks::keep(const std::string& filter, std::shared_ptr<const RowMask> mask) {
  const std::int64_t bytes = std::max<std::int64_t>(mask->rows() / 8, 1);
  const auto fit = std::size_t(std::max<std::int64_t>(most_bytes_ / bytes, 1));
  const std::scoped_lock lock(mutex_);
  entries_.remove_if([&](const Entry& entry) { return entry.first == filter; });
  entries_.emplace_front(filter, std::move(mask));
  while (entries_.size() > std::min(fit, kMost)) entries_.pop_back();
}

}  // namespace hh::retrieval

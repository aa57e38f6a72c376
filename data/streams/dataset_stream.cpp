// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "data/streams/image_stream.h"
#include "kernels/core/check.h"

namespace hh::data {

DatasetStream::DatasetStream(std::shared_ptr<const Dataset> dataset,
                             std::vector<std::int64_t> items, std::int64_t first, std::int64_t last)
    : ImageStream({.first = first, .last = last, .total = std::int64_t(items.size())}),
      dataset_(std::move(dataset)),
      items_(std::move(items)),
      next_(first) {
  HH_PRECONDITION(first >= 0 && first <= last && last <= range().total,
                  "stream: items " << first << " to " << last << " of " << range().total);
}

bool DatasetStream::next(StreamedImage& image, const std::atomic<bool>&) {
  if (next_ == range().last) return false;
  const std::int64_t item = items_[std::size_t(next_)];
  image.position = next_++;
  image.id = item;
  image.name = dataset_->name(item);
  image.location = dataset_->location(item);
  const auto labels = dataset_->labels().of(item);
  image.labels.assign(labels.begin(), labels.end());
  return true;
}

void DatasetStream::load(const StreamedImage& image, Image& pixels) const {
  dataset_->load(image.id, pixels);
}

}  // namespace hh::data

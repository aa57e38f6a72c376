// SPDX-License-Identifier: Apache-2.0
#include "data/sets/dataset.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "engine/text/counted.h"
#include "kernels/core/check.h"

namespace hh::data {

Dataset::Dataset(Labels labels, std::vector<std::string> class_names,
                 std::vector<std::string> notes)
    : labels_(std::move(labels)), class_names_(std::move(class_names)), notes_(std::move(notes)) {
  HH_PRECONDITION(class_names_.empty() || int(class_names_.size()) == labels_.classes(),
                  "data set: " << class_names_.size() << " class names for " << labels_.classes()
                               << " classes");
}

Image Dataset::load(std::int64_t index) const {
  Image image;
  load(index, image);
  return image;
}

void Dataset::check_index(std::int64_t index) const {
  HH_PRECONDITION(index >= 0 && index < size(), "data set: item " << index << " of " << size());
}

MemoryDataset::MemoryDataset(std::string source, int height, int width, int channels,
                             std::vector<std::uint8_t> pixels, Labels labels,
                             std::vector<std::string> class_names)
    : Dataset(std::move(labels), std::move(class_names)),
      source_(std::move(source)),
      height_(height),
      width_(width),
      channels_(channels),
      pixels_(std::move(pixels)) {
  HH_REQUIRE(height >= 1 && width >= 1 && (channels == 1 || channels == 3),
             source_ << ": images of " << height << " x " << width << " x " << channels
                     << ": at least 1 x 1 with 1 or 3 channels are needed");
  const std::size_t image_bytes = std::size_t(height) * std::size_t(width) * std::size_t(channels);
  HH_REQUIRE(pixels_.size() == std::size_t(size()) * image_bytes,
             source_ << ": " << pixels_.size() << " bytes for " << counted(size(), "image")
                     << ", which take " << std::size_t(size()) * image_bytes
                     << ": fetch the files again");
}

std::string MemoryDataset::name(std::int64_t index) const {
  check_index(index);
  return source_ + "#" + std::to_string(index);
}

void MemoryDataset::load(std::int64_t index, Image& image) const {
  check_index(index);
  image.reshape(height_, width_, channels_);
  std::copy_n(pixels_.begin() + index * std::int64_t(image.pixels.size()), image.pixels.size(),
              image.pixels.begin());
}

FileDataset::FileDataset(std::filesystem::path root, std::vector<std::string> lists,
                         std::vector<Item> items, Labels labels,
                         std::vector<std::string> class_names, DecodeOptions decode,
                         std::vector<std::string> notes)
    : Dataset(std::move(labels), std::move(class_names), std::move(notes)),
      root_(std::move(root)),
      lists_(std::move(lists)),
      items_(std::move(items)),
      decode_(decode) {
  HH_PRECONDITION(std::int64_t(items_.size()) == size(),
                  "data set: " << items_.size() << " files for " << size() << " labels");
}

std::string FileDataset::name(std::int64_t index) const {
  check_index(index);
  return items_[std::size_t(index)].path;
}

std::string FileDataset::location(std::int64_t index) const {
  check_index(index);
  const Item& item = items_[std::size_t(index)];
  if (item.line == 0) return item.path;
  return lists_[std::size_t(item.list)] + ":" + std::to_string(item.line) + ": " + item.path;
}

std::filesystem::path FileDataset::file(std::int64_t index) const {
  check_index(index);
  return root_ / items_[std::size_t(index)].path;
}

bool FileDataset::available(std::int64_t index) const {
  return ::access(file(index).c_str(), R_OK) == 0;
}

std::int64_t FileDataset::file_bytes(std::int64_t index) const {
  std::error_code error;  // also for a pipe, which has no size
  const std::uintmax_t bytes = std::filesystem::file_size(file(index), error);
  return error ? -1 : std::int64_t(bytes);
}

void FileDataset::load(std::int64_t index, Image& image) const {
  image = load_image(file(index), decode_);
}

}  // namespace hh::data

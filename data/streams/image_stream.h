// SPDX-License-Identifier: Apache-2.0
// Images that come one after another, whose number may be unknown until the end: of a list on a pipe,
// a tar archive, or part of a data set. Memory doesn't grow with the stream.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/images/image.h"
#include "data/sets/dataset.h"

namespace hh::data {

struct StreamedImage {
  std::int64_t position = 0;          // among all images of the whole list or archive, from 0
  std::int64_t id = 0;                // for the code file
  std::string name;                   // as listed
  std::string location;               // "l.txt:17: a/b.jpg", for errors
  std::int64_t line = 0;              // of a list, 1-based; 0: of none
  std::vector<std::uint8_t> bytes;    // of the file, where it came along
  std::string error;                  // why no bytes came along; load() throws it
  std::vector<std::uint64_t> labels;  // words, see labels.h; empty: none
};

/// A range of the images of a whole; without --shard, all of it.
struct StreamRange {
  std::int64_t first = 0;
  std::int64_t last = -1;   // behind the range; -1: to the end
  std::int64_t total = -1;  // images of the whole; -1: not known before the end
};

class ImageStream {
 public:
  explicit ImageStream(StreamRange range = {}) : range_(range) {}
  virtual ~ImageStream() = default;

  const StreamRange& range() const { return range_; }
  /// The next image in order; false at the end, or when `stop` is set while it waits. One thread at
  /// a time. Throws std::runtime_error and TryAgain (engine/files/file_error.h) for what ends the
  /// stream: a damaged archive, a list that can't be read.
  virtual bool next(StreamedImage& image, const std::atomic<bool>& stop) = 0;
  /// Reads and decodes it; many threads at a time. Throws ImageError for a bad image.
  virtual void load(const StreamedImage& image, Image& pixels) const = 0;

  virtual int classes() const { return 0; }  // 0: its images have no labels
  virtual std::vector<std::string> class_names() const { return {}; }

 private:
  StreamRange range_;
};

/// Items [first, last) of `items` of a data set, which says their names and labels; ids are the
/// items' numbers.
class DatasetStream final : public ImageStream {
 public:
  DatasetStream(std::shared_ptr<const Dataset> dataset, std::vector<std::int64_t> items,
                std::int64_t first, std::int64_t last);
  bool next(StreamedImage& image, const std::atomic<bool>& stop) override;
  void load(const StreamedImage& image, Image& pixels) const override;
  int classes() const override { return dataset_->classes(); }
  std::vector<std::string> class_names() const override { return dataset_->class_names(); }

 private:
  std::shared_ptr<const Dataset> dataset_;
  std::vector<std::int64_t> items_;
  std::int64_t next_ = 0;
};

}  // namespace hh::data

// SPDX-License-Identifier: Apache-2.0
// Small pictures of items, for the server and for pages that load nothing from elsewhere.
#pragma once
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>

#include "data/images/decode.h"
#include "data/sets/dataset.h"

namespace hh::apps {

/// Where the pictures of items come from.
struct ThumbnailSource {
  std::string protocol, data;  // a data set in memory and its folder (data/experiments/protocol.h)
  std::string image_root;      // what relative paths start from
  std::string other_root;      // tried where there is no such file
  bool exif_orientation = true;  // as the model that saw them
  std::int64_t max_pixels = data::DecodeOptions{}.max_pixels;
  int side = 160;  // the longer side of large pictures after shrinking
};

struct Thumbnail {
  std::string bytes;      // of a file; empty: there is no picture
  const char* type = "";  // image/png or image/jpeg
  int width = 0, height = 0;

  bool empty() const { return bytes.empty(); }
  std::string uri() const;  // data:TYPE;base64,...
};

class Thumbnails {
 public:
  /// Opens the data set, if one is named. Throws what open_protocol() throws.
  explicit Thumbnails(const ThumbnailSource& source);

  /// By an item's name: "fashion-mnist#123" is item 123 of the data set in memory (Fashion-MNIST at
  /// its usual place is found by itself), and anything else the path of a file. A picture that
  /// can't be had is no error. `side`: in place of the source's. Safe from many threads, which
  /// decode side by side.
  Thumbnail of(const std::string& name, int side = 0);

 private:
  bool from_dataset(const std::string& name, data::Image& image);
  std::shared_ptr<const data::Dataset> dataset_for(const std::string& name);

  ThumbnailSource source_;
  std::mutex mutex_;  // of what follows
  bool looked_for_fashion_ = false;
  std::shared_ptr<const data::Dataset> dataset_;
};

/// A PNG of small images, and a JPEG of large ones.
Thumbnail encode_thumbnail(data::Image image, int side);

/// RFC 4648, with padding.
std::string base64(const std::string& bytes);

}  // namespace hh::apps

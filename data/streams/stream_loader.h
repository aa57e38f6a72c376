// SPDX-License-Identifier: Apache-2.0
// Batches of transformed images of a stream, made ahead by worker threads.
//
// An image's place doesn't depend on the shard: batch b has the images at positions
// [b * batch_size, (b + 1) * batch_size) of the whole list, each in the row of its position. Rows whose
// image is another shard's or bad hold zeros. So the network computes every image in the same shapes
// at the same place, whichever process does it, and gives the same bits.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/images/transform.h"
#include "data/streams/image_stream.h"

namespace hh::data {

struct StreamLoaderOptions {
  int batch_size = 64;
  int workers = 1;  // threads, at least one
  /// Runs on each image before the transform.
  std::function<void(Image&)> prepare = [](Image&) {};
  /// Called about ten times a second while next() waits, by its thread; may throw to end it.
  std::function<void()> while_waiting = [] {};
};

struct StreamedBatch {
  struct Item {
    std::int64_t row = 0;
    std::int64_t id = 0;
    std::string name;
    std::vector<std::uint64_t> labels;
  };
  struct Bad {
    std::int64_t id = 0;
    std::string name, location, error;
  };
  std::int64_t number = 0;           // of the batch in the whole
  std::int64_t rows = 0;             // images of the whole in it
  std::vector<std::uint8_t> pixels;  // [rows, S, S, C]
  std::vector<Item> items;           // of this range, in order of the rows
  std::vector<Bad> bad;              // the same, of those that can't be read
};

class StreamLoader {
 public:
  /// `stream` must outlive the loader, which reads it from its own threads.
  StreamLoader(ImageStream& stream, const TransformSpec& transform,
               const StreamLoaderOptions& options);
  ~StreamLoader();  // at any moment; waits only for the images in work
  StreamLoader(const StreamLoader&) = delete;
  StreamLoader& operator=(const StreamLoader&) = delete;

  /// The next batch in order; false at the end. `batch`'s memory is reused. Throws what the stream
  /// throws, but for ImageError.
  bool next(StreamedBatch& batch);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hh::data

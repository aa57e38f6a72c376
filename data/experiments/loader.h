// SPDX-License-Identifier: Apache-2.0
// Batches of transformed images, made ahead by worker threads. What comes out depends on nothing
// but data set, list, transform, seed and epoch: not on the number of workers, nor on timing.
// These threads wait for files while the kernels compute, so they are not
// kernels/core/parallel.h's.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/images/transform.h"
#include "data/sets/dataset.h"

namespace hh::data {

struct LoaderOptions {
  int batch_size = 64;
  bool shuffle = false;    // by (seed, epoch)
  std::uint64_t seed = 0;  // of the order and of the transform's random choices
  int workers = 0;         // 0: next() does the work itself
  int ahead = 0;           // batches ready or in work at once; 0: workers + 2
  bool drop_last = false;  // a short last batch is left out
  bool skip_bad = false;   // leave bad images out (their batch is shorter) in place of an error
  /// Each batch is cut into `slices` runs of images, ceil(images / slices) each but the last ones,
  /// and this loader makes run number `slice`: for processes that train together. Runs may be empty.
  int slice = 0, slices = 1;
};

struct BadImage {
  std::int64_t index = 0;  // in the data set
  std::string location;    // line and path
  std::string error;
};

/// One line for an error: the first few of a batch's bad images, and how to leave them out.
std::string bad_images_text(const std::vector<BadImage>& bad, std::int64_t batch);

struct Batch {
  int images = 0;
  std::int64_t number = 0;            // of the batch in its epoch, from 0
  std::vector<std::uint8_t> pixels;   // [images, S, S, C]
  std::vector<std::int64_t> indices;  // [images] positions in the loader's list: bank rows
  std::vector<std::uint64_t> labels;  // [images, label words], see labels.h
};

class Loader {
 public:
  /// `dataset` must outlive the loader. `items` are data set indices, e.g. split.train.
  Loader(const Dataset& dataset, std::vector<std::int64_t> items, const TransformSpec& transform,
         const LoaderOptions& options);
  ~Loader();  // at any moment; waits only for the images in work
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// Begins an epoch, at a later batch when a run is resumed. Ends one that is under way.
  void start(std::uint32_t epoch, std::int64_t first_batch = 0);
  /// The next batch in order; false at the end of the epoch. Batches without a readable image are
  /// left out, but not when they are cut into slices. `batch`'s memory is reused. Throws
  /// std::runtime_error, which lists the batch's bad images, unless skip_bad; the epoch is then
  /// over.
  bool next(Batch& batch);

  std::int64_t items() const;
  std::int64_t batches() const;  // per epoch
  /// Images skipped so far, each once, in the order met.
  const std::vector<BadImage>& bad() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hh::data

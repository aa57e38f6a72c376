// SPDX-License-Identifier: Apache-2.0
// A data set of files whose pictures are decoded once and kept in a file (picture_cache.h). What a
// transform gives of them are the bits that it gives of the files themselves.
//
// What is kept is the picture as decoded, and resized by the transform where that makes it smaller: the
// resize is the same in each epoch, the crop and the flip behind it aren't. One file serves all data sets
// below a folder that are decoded and resized alike: each adds what it lacks.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/images/transform.h"
#include "data/sets/dataset.h"

namespace hh::data {

struct CacheOptions {
  std::filesystem::path folder;  // made if it isn't there; may hold several caches
  TransformSpec transform;       // crop and flip don't matter
  /// Told what it waits for, and what isn't as it should be.
  std::function<void(const std::string&)> report = [](const std::string&) {};
  std::function<void(const std::string&)> warn = [](const std::string&) {};
  /// Told of pictures decoded so far, of how many.
  std::function<void(std::int64_t done, std::int64_t total)> progress = [](auto, auto) {};
};

struct CacheFacts {
  std::filesystem::path file;
  std::int64_t wanted = 0;    // image files, each counted once
  std::int64_t held = 0;      // of them, with pixels; the others are missing or broken, or were
  std::string first_without;  // the first of those others
  std::int64_t bytes = 0;     // of the whole file
  std::int64_t decoded = 0;   // by this call, broken ones too; not what the disk withheld
  std::int64_t changed = 0;   // of those: files that were other ones before
};

/// "1820 of 1821 image files (not /photos/a.jpg)".
std::string held_text(std::int64_t held, std::int64_t wanted, const std::string& first_without);

struct CachedSet {
  std::shared_ptr<const Dataset> dataset;
  CacheFacts facts;
};

/// The data set with the pictures of `items` kept. Files are known by size and times, and by their
/// contents where only times differ; what changed is decoded anew into a new file that takes the old
/// one's place, as is a damaged one. Of several processes one does it while the others wait. What isn't
/// held is read from its own file at every load(), so are pixels that the disk lost. Throws DiskFull or
/// another std::runtime_error, and leaves then what was there.
CachedSet with_cache(std::shared_ptr<const FileDataset> files,
                     const std::vector<std::int64_t>& items, const CacheOptions& options);

/// What a check of a cache finds, every image file of it read.
struct CacheCheck {
  std::filesystem::path file;
  std::string damage;  // why it can't be used; empty: it can, or there is none
  std::int64_t wanted = 0, bytes = 0;
  std::int64_t held = 0;            // files whose pixels are there and whole
  std::string first_without;        // the first of the others
  std::int64_t changed = 0;         // files that are other ones now, and are known to be
  std::vector<std::int64_t> stale;  // items whose files changed under the same size and times
};
CacheCheck check_cache(const FileDataset& files, const std::vector<std::int64_t>& items,
                       const CacheOptions& options);

}  // namespace hh::data

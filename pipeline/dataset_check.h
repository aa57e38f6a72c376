// SPDX-License-Identifier: Apache-2.0
// Whether the parts of an experiment are what its figures take them for: queries that nobody
// trained on, labels for every image, each image once, the protocol's counts, files that are there.
#pragma once
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/experiments/protocol.h"
#include "pipeline/listener.h"
#include "pipeline/recipe.h"

namespace hh::pipeline {

/// What is read of the images, and makes two of them equal beside their paths.
enum class Content {
  kNone,     // nothing: images aren't read
  kBytes,    // the file's bytes; pixels for data sets in memory. Damage inside a file isn't seen
  kDecoded,  // the same, and each is decoded: one that training couldn't read is found
  kPixels,   // the decoded pixels, so that a re-saved PNG is found too
};
const char* to_string(Content content);
/// Throws std::invalid_argument listing the names.
Content content_named(const std::string& name);

/// A number of images and the first few of them, as a person finds them.
struct Finding {
  std::int64_t count = 0;
  std::vector<std::string> examples;
};

struct PartCheck {
  std::string name;
  std::int64_t items = 0, expected = -1;  // -1: the protocol leaves it open
  Finding unlabelled, missing, unreadable;
  Finding path_again, content_again;  // rows whose path, content an earlier row of the part has
};

struct OverlapCheck {
  std::string first, second;
  /// A query in another part is wrong; training images in the database are usual.
  bool wrong = true;
  Finding path, content;  // images of `first` that `second` has, under any path for content
};

struct DatasetCheck {
  std::string protocol;
  Content content = Content::kDecoded;
  std::int64_t classes = 0, expected_classes = -1;
  std::array<PartCheck, 3> parts;        // query, train, database
  std::vector<std::string> notes;        // what was passed over at the opening; the cache
  Finding stale;                         // in the cache as they were before, unnoticed
  std::array<OverlapCheck, 3> overlaps;  // query-train, query-database, train-database

  /// What is wrong, a line each; empty when nothing is.
  std::vector<std::string> problems() const;
};

/// Reads every image unless content is kNone, on all threads. An image that can't be read is a
/// finding, not an error: the listener is warned of the first ones and why.
DatasetCheck check_dataset(const data::Experiment& experiment, Content content,
                           const Listener& listener = {});

/// Adds what the recipe's data.cache holds, where it has one; every image file is read.
void check_cache(DatasetCheck& check, const data::Experiment& experiment, const Recipe& recipe);

std::string to_text(const DatasetCheck& check);
nlohmann::ordered_json to_json(const DatasetCheck& check);

}  // namespace hh::pipeline

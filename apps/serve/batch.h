// SPDX-License-Identifier: Apache-2.0
// Requests of many entries: a JSON object with a list of them, as the body or as the part `request`
// of a form whose parts `image` are the entries' pictures.
#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/serve/upload.h"

namespace hh::apps {

inline constexpr std::size_t kMaxEntries = 1000, kMaxPictures = 64;
inline constexpr std::size_t kMaxBatchText = std::size_t{8} << 20;  // bytes of the JSON

struct BatchEntry {
  Values values;
  std::vector<float> outputs;               // of the network, where it has them
  std::optional<std::string_view> picture;  // where it has one
};

struct Batch {
  Values values;  // of all entries
  std::vector<BatchEntry> entries;
};

struct BatchNames {
  std::string list;                        // of the entries
  std::vector<std::string> common, entry;  // values; an entry's `image` is a number of a picture
};

/// Without a list the pictures are the entries. Keeps references to the body. Throws ApiError and
/// std::invalid_argument: no JSON, too many entries, a picture that is no entry's.
Batch read_batch(const HttpRequest& request, const BatchNames& names);

/// "queries[3]", as errors call an entry.
std::string entry_name(const BatchNames& names, std::size_t i);

}  // namespace hh::apps

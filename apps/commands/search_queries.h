// SPDX-License-Identifier: Apache-2.0
// What `hybridhash search` searches for: images through a model, codes, or items of the index.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/device/device.h"
#include "engine/tensor/network_type.h"
#include "pipeline/encoder.h"
#include "retrieval/codes/code_file.h"
#include "retrieval/engines/collection_about.h"
#include "retrieval/index/index.h"

namespace hh::apps {

/// Exactly one of images, list, code_texts, ids and codes is given.
struct QueryOptions {
  std::vector<std::string> images;
  std::string list, image_root;
  std::vector<std::string> code_texts;
  std::vector<std::int64_t> ids;     // of items of the index
  std::string codes;                 // a file
  std::string code_format = "auto";  // of a .csv
  std::string model;                 // of images and lists
  NetworkType type = DType::f32;     // the model's, when encoding
  bool mix_int8 = false;             // its codes may be of int8 where the index's aren't
  pipeline::EncoderOptions encoder;
  double max_pixels = 0;    // of an image, millions; 0: the model's
  std::int64_t sample = 0;  // so many of all, drawn at random; 0: all
  std::uint64_t seed = 0;   // of the draw
};

struct Queries {
  retrieval::CodeSet set;          // ids mean nothing where queries are from elsewhere
  std::vector<std::int64_t> rows;  // in the index, where queries are items of it; or empty
  bool exif_orientation = true;    // how their pictures stand: as the model sees them, if known
};

/// An item as a query, behind those of a set.
void add_query(retrieval::CodeSet& set, std::int64_t id, retrieval::CodesView code,
               const retrieval::Description& description);

/// Puts items of what is searched behind the queries. Throws std::invalid_argument for an unknown id.
using AddItems = std::function<void(const std::vector<std::int64_t>& ids, Queries& queries)>;

/// Throws std::invalid_argument and std::runtime_error, also for codes that don't belong to what is
/// searched, of which `about` is.
Queries read_queries(const QueryOptions& options, const retrieval::CollectionAbout& about,
                     const AddItems& add_items, Device device);
Queries read_queries(const QueryOptions& options, const retrieval::Index& index, Device device);

}  // namespace hh::apps

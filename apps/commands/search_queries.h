// SPDX-License-Identifier: Apache-2.0
// What `hybridhash search` searches for: images through a model, codes, or items of the index.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "engine/device/device.h"
#include "engine/tensor/network_type.h"
#include "pipeline/encoder.h"
#include "retrieval/codes/code_file.h"
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

/// Throws std::invalid_argument and std::runtime_error, also for codes that aren't the index's.
Queries read_queries(const QueryOptions& options, const retrieval::Index& index, Device device);

}  // namespace hh::apps

// SPDX-License-Identifier: Apache-2.0
// An index's items through another model: built beside the old index, which serves meanwhile, and put in
// its place when it is complete.
#pragma once
#include <filesystem>
#include <functional>
#include <string>

#include "pipeline/encoder.h"
#include "pipeline/model_file.h"

namespace hh::pipeline {

struct ReencodeOptions {
  std::filesystem::path index;
  std::filesystem::path
      image_root;  // what the paths start from; empty: as at the last sync, or here
  EncoderOptions encoder;
  double max_pixels = 0;   // data_source.h
  bool skip_gone = false;  // leave out items whose files are gone or can't be read
  std::function<bool()> stop = [] { return false; };
};

struct ReencodeOutcome {
  std::int64_t items = 0, left_out = 0;
  bool stopped = false;  // then the index is as it was
};

/// Ids, paths, labels and metadata stay. Changes that others make meanwhile are taken over at the end,
/// when they have to wait for a moment. Warns of each item that has no file. Throws std::invalid_argument
/// where there is one, unless skip_gone, and std::runtime_error; the index is then as it was.
ReencodeOutcome reencode(const Model& model, const ReencodeOptions& options);

}  // namespace hh::pipeline

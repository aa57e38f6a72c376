// SPDX-License-Identifier: Apache-2.0
// Streams of images to codes, batch by batch: what `hybridhash encode` does, on one machine or as one of
// many workers. Memory doesn't grow with the number of images.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "data/streams/image_stream.h"
#include "data/streams/stream_loader.h"
#include "pipeline/data_source.h"
#include "pipeline/listener.h"
#include "pipeline/model_file.h"
#include "retrieval/codes/code_file.h"

namespace hh::pipeline {

/// Which part of a list or an archive a shard has: `shard`'s number and count, and what is told by
/// reading the list once. `dtype` is of the activations, as the user names it. Throws
/// std::invalid_argument where the source is neither, and where it can't be read twice.
retrieval::PartOfList describe_part(const ModelInfo& model, const SourceOptions& source,
                                    const retrieval::PartOfList& shard, const std::string& dtype);

struct OpenStream {
  std::unique_ptr<data::ImageStream> images;
  std::string name;                   // in words
  bool shrinks = false;               // images that don't fit the model (data_source.h)
  std::vector<std::string> warnings;  // of what was passed over
  int scaled_shorter_side = 0;        // data::DecodeOptions
};
/// All images of a source, or those of a part.
OpenStream open_stream(const ModelInfo& model, const std::filesystem::path& model_path,
                       const SourceOptions& source,
                       const std::optional<retrieval::PartOfList>& part);

/// What the codes are, without one: for CodeFileWriter, and to compare parts that are there.
retrieval::CodeSet about_codes(const ModelHead& model, const OpenStream& stream,
                               const std::optional<retrieval::PartOfList>& part);

struct StreamEncoderOptions {
  int batch = 256;
  int workers = 1;            // threads that read images, at least one
  bool skip_bad = false;      // leave out images that can't be read, in place of an error
  bool keep_outputs = false;  // also the real-valued codes
  bool may_be_empty = false;  // not one code is no error, as it never is of a part
  Listener listener;
  /// Asked after every batch and while images are waited for; may throw to end the work.
  std::function<void()> check_stop = [] {};
  /// Gets the codes of each batch, in order: ids, names, labels and outputs where kept.
  std::function<void(const retrieval::CodeSet&)> codes;
  /// Gets each image that is left out.
  std::function<void(const data::StreamedBatch::Bad&)> bad = [](const auto&) {};
};

struct StreamCounts {
  std::int64_t codes = 0, bad = 0;
};

/// Codes of all images, with `about` (about_codes) beside them. An image's code depends on neither the
/// part that it is in nor its neighbours (stream_loader.h).
StreamCounts encode_stream(const Model& model, OpenStream& stream, const retrieval::CodeSet& about,
                           const StreamEncoderOptions& options);

}  // namespace hh::pipeline

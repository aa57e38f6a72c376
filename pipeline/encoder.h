// SPDX-License-Identifier: Apache-2.0
// Images to codes: items of a data set through the loader and the network, in batches.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/experiments/loader.h"
#include "data/images/transform.h"
#include "data/sets/dataset.h"
#include "model/hybridhash/hybridhash.h"
#include "pipeline/listener.h"
#include "retrieval/codes/code_file.h"

namespace hh::pipeline {

struct EncoderOptions {
  int batch = 256;
  int workers = 1;            // loader threads, beside the kernels'
  bool skip_bad = false;      // leave out images that can't be read, in place of an error
  bool keep_outputs = false;  // also the real-valued codes
  bool may_be_none = false;   // not one readable image is no error
  Listener listener;          // told of images left out, and of the progress
};

/// The real-valued codes [B, bits] of a batch as they are. Throws std::runtime_error when one isn't
/// finite.
std::vector<float> finite(std::vector<float> outputs);

class Encoder {
 public:
  /// Keeps a reference to `network`, whose parameters are placed on `device`.
  Encoder(const HybridHash& network, const data::TransformSpec& transform, DType dtype,
          Device device, const EncoderOptions& options);

  /// Codes of these items in their order, with ids (data set indices), names and labels (unless no
  /// item has any). `what` names them in the progress. Throws std::runtime_error for images that
  /// can't be read, unless they are skipped.
  retrieval::CodeSet encode(const data::Dataset& dataset, const std::vector<std::int64_t>& items,
                            const std::string& what) const;

  int bits() const { return network_.config().bits; }

 private:
  const HybridHash& network_;
  data::TransformSpec transform_;
  DType dtype_;
  Device device_;
  EncoderOptions options_;
};

/// Warns of each image that the loader left out.
void report_bad(const data::Loader& loader, const Listener& listener);

}  // namespace hh::pipeline

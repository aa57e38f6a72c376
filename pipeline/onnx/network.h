// SPDX-License-Identifier: Apache-2.0
// The network as a graph of ONNX: docs/specification.md, section 1, in ONNX's operations.
#pragma once
#include "pipeline/model_file.h"
#include "pipeline/onnx/graph.h"

namespace hh::pipeline {

struct OnnxOptions {
  std::int64_t batch = 0;         // images at once; 0: any number
  int opset = 17;                 // 17, the first with LayerNormalization, to 20
  std::string inputs = "pixels";  // uint8 [n, S, S, C], what the model's transform makes of
                                  // photographs; normalised in the graph. Or
                                  // "normalised": float32 [n, C, S, S], normalised before
  std::string outputs = "both";   // "outputs": float32 [n, bits] in (-1, 1),
                                  // "codes": uint8 [n, ceil(bits / 8)], packed as everywhere

  /// Throws std::invalid_argument.
  void validate() const;
};

/// In float32. Transform, sizes, class names and model hash go along as metadata, under names that
/// start with "hybridhash.". Throws std::invalid_argument for wrong options.
OnnxGraph network_graph(const Model& model, const OnnxOptions& options);

}  // namespace hh::pipeline

// SPDX-License-Identifier: Apache-2.0
// Models as ONNX files, for ONNX Runtime, OpenVINO and others.
#pragma once
#include <filesystem>

#include "pipeline/onnx/network.h"

namespace hh::pipeline {

/// Writes atomically. Throws std::invalid_argument for wrong options, std::runtime_error when this
/// program was built without ONNX, and for a network too large for one file.
void export_onnx(const Model& model, const std::filesystem::path& out, const OnnxOptions& options);

}  // namespace hh::pipeline

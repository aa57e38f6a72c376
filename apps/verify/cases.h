// SPDX-License-Identifier: Apache-2.0
// The kinds of golden cases (docs/specification.md, section 8), each checked by one function.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "apps/verify/report.h"
#include "engine/device/device.h"

namespace hh::apps {

/// Where a case lies: CASE.json, and its tensors beside it under the same stem.
struct GoldenCase {
  std::filesystem::path json_path;
  std::filesystem::path sibling(const std::string& suffix) const {
    return json_path.parent_path() / (json_path.stem().string() + suffix);
  }
};

enum class CaseKind { kNetwork, kFullNetwork, kLoss, kMetrics, kTransform };

/// CASE.json. Throws std::invalid_argument with the path when it isn't JSON, std::runtime_error when
/// it can't be read or is larger than 64 MiB.
nlohmann::json read_case(const std::filesystem::path& path);
/// By the keys of the JSON; nothing: it is no case.
std::optional<CaseKind> kind_of(const nlohmann::json& json);
/// Whether bf16 and f16 concern this kind.
bool is_network(CaseKind kind);

/// Runs a case of any kind. bf16 and f16 are for networks: codes and loss only. Throws
/// std::invalid_argument with the path for a file that isn't a case, or not a whole one.
Report verify_case(const std::filesystem::path& path, Device device, DType dtype);

/// A small network in full: stages, gradients, optimiser steps, drop path ("config" in the JSON).
void verify_network(const GoldenCase& files, const nlohmann::json& json, Device device, DType dtype,
                    Report& report);
/// The 224 px network, sampled ("code_f64" by code length in the JSON).
void verify_full_network(const GoldenCase& files, const nlohmann::json& json, Device device,
                         DType dtype, Report& report);
/// The loss alone, many cases a file.
void verify_loss(const GoldenCase& files, const nlohmann::json& json, Device device,
                 Report& report);
/// Retrieval metrics, many cases a file.
void verify_metrics(const GoldenCase& files, const nlohmann::json& json, Report& report);
/// The image pipeline.
void verify_transform(const GoldenCase& files, const nlohmann::json& json, Report& report);

}  // namespace hh::apps

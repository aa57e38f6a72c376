// SPDX-License-Identifier: Apache-2.0
#include "apps/verify/cases.h"

#include <nlohmann/json.hpp>
#include <span>
#include <stdexcept>

#include "engine/files/file.h"
#include "engine/files/file_kind.h"
#include "engine/text/json_error.h"
#include "engine/text/json_text.h"

namespace hh::apps {

nlohmann::json read_case(const std::filesystem::path& path) {
  constexpr std::size_t kMaxJson = std::size_t{64} << 20;
  const auto bytes = read_file(path, kMaxJson);
  constexpr const char* kCure =
      ": give a CASE.json with its tensors beside it, as "
      "tests/goldens/micro_e.json";
  try {
    return parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  } catch (const nlohmann::json::exception& error) {
    const std::string kind = kind_of_file(std::as_bytes(std::span(bytes))).name;
    throw std::invalid_argument(
        path.string() + ": " +
        (kind.empty() ? json_error_text(error) : "it is " + kind + ", not a reference case") +
        kCure);
  }
}

std::optional<CaseKind> kind_of(const nlohmann::json& json) {
  if (json.contains("config")) return CaseKind::kNetwork;
  if (json.contains("code_f64")) return CaseKind::kFullNetwork;
  if (json.contains("cases")) return CaseKind::kTransform;
  for (const auto& [name, entry] : json.items()) {
    if (!entry.is_object()) continue;
    if (entry.contains("hamming_u8_fnv1a64")) return CaseKind::kMetrics;
    if (entry.contains("S1")) return CaseKind::kLoss;
  }
  return std::nullopt;
}

bool is_network(CaseKind kind) {
  return kind == CaseKind::kNetwork || kind == CaseKind::kFullNetwork;
}

Report verify_case(const std::filesystem::path& path, Device device, DType dtype) {
  const nlohmann::json json = read_case(path);
  const std::optional<CaseKind> kind = kind_of(json);
  if (!kind) {
    throw std::invalid_argument(path.string() +
                                " is none of the known kinds of golden case (network, full "
                                "network, loss, metrics, transform)");
  }
  if (dtype != DType::f32 && !is_network(*kind)) {
    throw std::invalid_argument("--dtype bf16 and f16 are for network cases; " + path.string() +
                                " is another kind");
  }
  const GoldenCase files{path};
  Report report;
  try {
    switch (*kind) {
      case CaseKind::kNetwork:
        verify_network(files, json, device, dtype, report);
        break;
      case CaseKind::kFullNetwork:
        verify_full_network(files, json, device, dtype, report);
        break;
      case CaseKind::kLoss:
        verify_loss(files, json, device, report);
        break;
      case CaseKind::kMetrics:
        verify_metrics(files, json, report);
        break;
      case CaseKind::kTransform:
        verify_transform(files, json, report);
        break;
    }
  } catch (const nlohmann::json::exception& error) {  // a key of the format is missing
    throw std::invalid_argument(path.string() + ": " + json_error_text(error));
  }
  return report;
}

}  // namespace hh::apps

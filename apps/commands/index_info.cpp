// SPDX-License-Identifier: Apache-2.0
#include "apps/commands/index_info.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/terminal/shown_text.h"
#include "engine/text/json_text.h"
#include "retrieval/index/index.h"

namespace hh::apps {
namespace {

std::uintmax_t size_on_disk(const std::filesystem::path& folder) {
  std::uintmax_t size = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::error_code gone;  // files come and go while another process writes
    const auto bytes = entry.file_size(gone);
    if (!gone) size += bytes;
  }
  return size;
}

}  // namespace

void print_index(const std::string& folder, bool as_json) {
  const retrieval::Index index = retrieval::Index::open(folder);
  index.outputs();  // checks what opening leaves for later
  const retrieval::IndexManifest& m = index.manifest();
  std::vector<std::string> mixed;
  if (m.int8_mixed) mixed.push_back("int8 and other codes");
  if (m.decoding_mixed) mixed.push_back("JPEGs decoded in several ways");
  nlohmann::ordered_json all{
      {"index", folder},      {"version", m.version()},       {"items", index.count()},
      {"bits", index.bits()}, {"outputs", m.outputs},         {"deleted", m.deleted},
      {"classes", m.classes}, {"class_names", m.class_names}, {"model", m.model_hash},
      {"source", m.source},   {"generation", m.generation},   {"segments", m.segments.size()},
      {"next_id", m.next_id}, {"bytes", size_on_disk(folder)}};
  if (m.scaled_shorter_side > 0) all["scaled_shorter_side"] = m.scaled_shorter_side;
  if (!mixed.empty()) all["mixed"] = mixed;
  if (as_json) return fmt::print("{}\n", shown_json(all));
  say("{}: index, check sums are right\n", folder);
  for (const auto& [key, value] : all.items()) {
    if (key == "index" || (value.is_structured() && value.empty())) continue;
    std::string text = value.is_string() ? value.get<std::string>() : json_text(value);
    if (value.is_array()) {
      text.clear();
      for (const auto& name : value) text += (text.empty() ? "" : ", ") + name.get<std::string>();
    }
    say("  {:<12} {}\n", key, text.empty() ? "unknown" : text);
  }
}

}  // namespace hh::apps

// SPDX-License-Identifier: Apache-2.0
#include "retrieval/index/manifest.h"

#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>

#include "engine/files/file.h"
#include "engine/files/xxh64.h"
#include "engine/text/json_error.h"
#include "engine/text/json_text.h"
#include "retrieval/codes/code_file.h"
#include "retrieval/codes/code_origin_json.h"

namespace hh::retrieval {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "hybridhash index";
constexpr const char* kName = "manifest.json";
constexpr std::size_t kMaxBytes = std::size_t{1} << 28;
constexpr std::int64_t kMaxRows = std::int64_t{1} << 40;

[[noreturn]] void fail(const std::string& name, const std::string& what) {
  throw std::runtime_error(name + ": not a usable index: " + what +
                           ": restore a copy, or build it again by hybridhash index build");
}

std::uint64_t checksum_of(const json& body) {
  const std::string text = json_text(body);
  return xxh64(std::as_bytes(std::span(text)));
}

std::uint64_t unhex(const std::string& text, const std::string& name) {
  const auto sum = parse_xxh64(text);
  if (!sum) fail(name, "'" + text + "' isn't a check sum");
  return *sum;
}

std::int64_t number(const json& from, const char* key, std::int64_t least, std::int64_t most,
                    const std::string& name) {
  const json& value = from.at(key);
  if (!value.is_number_integer() || (value.is_number_unsigned() && value > std::uint64_t(most)) ||
      value < least || value > most) {
    fail(name, std::string(key) + " = " + json_text(value) + ", not a number from " +
                   std::to_string(least) + " to " + std::to_string(most));
  }
  return value.get<std::int64_t>();
}

IndexManifest from_json(const json& j, const std::string& name) {
  IndexManifest m;
  if (j.contains("identity")) m.identity = unhex(j["identity"].get<std::string>(), name);
  m.generation = number(j, "generation", 0, INT64_MAX - 1, name);
  m.base = number(j, "base", 0, INT64_MAX - 1, name);
  m.bits = int(number(j, "bits", kMinBits, kMaxBits, name));
  m.outputs = j.value("outputs", false);
  static_cast<CodeOrigin&>(m) =
      code_origin(j, [&](const char* key, std::int64_t least, std::int64_t most) {
        return number(j, key, least, most, name);
      });
  m.classes = int(number(j, "classes", 0, kMaxClasses, name));
  m.class_names = j.at("class_names").get<std::vector<std::string>>();
  if (!m.class_names.empty() && m.class_names.size() != std::size_t(m.classes)) {
    fail(name, std::to_string(m.classes) + " classes, but " + std::to_string(m.class_names.size()) +
                   " class names");
  }
  std::int64_t rows = 0;
  for (const json& segment : j.at("segments")) {
    m.segments.push_back({number(segment, "rows", 1, kMaxRows - rows, name),
                          unhex(segment.at("codes").get<std::string>(), name),
                          unhex(segment.at("ids").get<std::string>(), name),
                          m.outputs ? unhex(segment.at("outputs").get<std::string>(), name) : 0});
    rows += m.segments.back().rows;
  }
  m.deleted_file = number(j, "deleted_file", -1, m.generation, name);
  m.deleted = number(j, "deleted", 0, rows, name);
  m.deleted_checksum = unhex(j.at("deleted_checksum").get<std::string>(), name);
  m.next_id = number(j, "next_id", 0, INT64_MAX, name);
  m.last_described = number(j, "last_described", -1, rows - 1, name);
  return m;
}

}  // namespace

std::int64_t IndexManifest::rows() const {
  std::int64_t rows = 0;
  for (const IndexSegment& segment : segments) rows += segment.rows;
  return rows;
}

std::uint64_t new_identity() {
  std::random_device device;
  return std::uint64_t(device()) << 32 | device() | 1;
}

std::string to_text(const IndexManifest& m) {
  json segments = json::array();
  for (const IndexSegment& s : m.segments) {
    segments.push_back(
        {{"rows", s.rows}, {"codes", xxh64_text(s.codes)}, {"ids", xxh64_text(s.ids)}});
    if (m.outputs) segments.back()["outputs"] = xxh64_text(s.outputs);
  }
  // Check sums are text: JSON numbers of other programs may be rounded to doubles.
  json body{{"format", kFormat},
            {"version", m.version()},
            {"generation", m.generation},
            {"base", m.base},
            {"bits", m.bits},
            {"classes", m.classes},
            {"class_names", m.class_names},
            {"segments", segments},
            {"deleted_file", m.deleted_file},
            {"deleted", m.deleted},
            {"deleted_checksum", xxh64_text(m.deleted_checksum)},
            {"next_id", m.next_id},
            {"last_described", m.last_described}};
  if (m.outputs) body["outputs"] = true;
  if (m.identity != 0) body["identity"] = xxh64_text(m.identity);
  put_code_origin(m, body);
  // What isn't UTF-8 can't be JSON: hashed as it will be read.
  body = valid_json(body);
  body["checksum"] = xxh64_text(checksum_of(body));
  return json_text(body, 1) + "\n";
}

IndexManifest parse_index_manifest(const std::string& text, const std::string& name) {
  json body = parse_json_if_any(text);
  if (!body.is_object() || !body.contains("format") || body["format"] != kFormat) {
    fail(name, std::string("it isn't JSON of the format '") + kFormat + "'");
  }
  try {
    // First of all, as a newer version may mean anything by the rest.
    const std::int64_t version = number(body, "version", 1, INT32_MAX, name);
    if (version > kIndexVersion) {
      fail(name, "version " + std::to_string(version) + " is newer than this program's " +
                     std::to_string(kIndexVersion) + "; use a newer hybridhash");
    }
    const std::uint64_t checksum = unhex(body.at("checksum").get<std::string>(), name);
    body.erase("checksum");
    if (checksum_of(body) != checksum) fail(name, "it is damaged (its check sum is wrong)");
    return from_json(body, name);
  } catch (const json::exception& error) {
    fail(name, json_error_text(error));
  }
}

IndexManifest read_index_manifest(const std::filesystem::path& folder) {
  const auto path = folder / kName;
  if (!std::filesystem::exists(path)) {
    throw std::runtime_error(
        folder.string() + (std::filesystem::exists(folder)
                               ? ": not an index: it has no manifest.json"
                               : ": there is no such index; make one by hybridhash index build"));
  }
  const auto bytes = read_file(path, kMaxBytes);
  return parse_index_manifest({bytes.begin(), bytes.end()}, path.string());
}

void write_index_manifest(const std::filesystem::path& folder, const IndexManifest& manifest) {
  write_file_atomically(folder / kName, to_text(manifest));
}

}  // namespace hh::retrieval

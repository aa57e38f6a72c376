// SPDX-License-Identifier: Apache-2.0
#include "retrieval/engines/milvus/item_json.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "engine/text/json_text.h"
#include "engine/text/utf8.h"
#include "retrieval/codes/code_file.h"
#include "retrieval/index/index.h"

namespace hh::retrieval {
namespace {

/// Reads from the front of what is left.
class Reader {
 public:
  explicit Reader(std::string_view text) : left_(text) {}

  bool take(std::string_view word) {
    if (!left_.starts_with(word)) return false;
    left_.remove_prefix(word.size());
    return true;
  }
  bool number(int& value) {
    const auto [stop, error] = std::from_chars(left_.data(), left_.data() + left_.size(), value);
    if (error != std::errc()) return false;
    left_.remove_prefix(std::size_t(stop - left_.data()));
    return true;
  }
  /// A JSON string, from its first quote to its last.
  std::string_view quoted() {
    std::size_t end = 1;
    while (end < left_.size() && left_[end] != '"') end += left_[end] == '\\' ? 2 : 1;
    const std::string_view found = left_.substr(0, std::min(end + 1, left_.size()));
    left_.remove_prefix(found.size());
    return found;
  }
  std::string_view rest() const { return left_; }

 private:
  std::string_view left_;
};

bool read_labels(Reader& reader, std::vector<int>& labels) {
  do {
    int label = 0;
    if (!reader.number(label) || label < 0 || label >= kMaxClasses) return false;
    if (!labels.empty() && label <= labels.back()) return false;
    labels.push_back(label);
  } while (reader.take(","));
  return reader.take("]");
}

bool read_path(Reader& reader, std::string& path) {
  const auto text = parse_json_if_any(reader.quoted());
  if (!text.is_string()) return false;
  path = bytes_of_utf8(text.get_ref<const std::string&>());
  return !path.empty();
}

}  // namespace

std::string item_json(const Description& description) {
  std::string text = "{";
  const auto member = [&](const char* name) {
    text += text.size() == 1 ? name : "," + std::string(name);
  };
  if (!description.labels.empty()) {
    member("\"l\":[");
    for (const int label : description.labels) text += std::to_string(label) + ',';
    text.back() = ']';
  }
  if (!description.path.empty()) {
    member("\"p\":");
    text += json_text(nlohmann::json(as_utf8(description.path)));
  }
  if (!description.metadata.empty()) {
    member("\"m\":");
    text += description.metadata;
  }
  return text + '}';
}

std::optional<Description> parse_item_json(std::string_view text) {
  Description description;
  Reader reader(text);
  bool first = true;
  const auto member = [&](const char* name) {
    Reader behind = reader;
    if ((!first && !behind.take(",")) || !behind.take(name)) return false;
    reader = behind;
    first = false;
    return true;
  };
  if (!reader.take("{")) return {};
  if (member("\"l\":[") && !read_labels(reader, description.labels)) return {};
  if (member("\"p\":") && !read_path(reader, description.path)) return {};
  if (member("\"m\":")) {
    const std::string_view left = reader.rest();
    description.metadata = left.substr(0, left.empty() ? 0 : left.size() - 1);
    if (description.metadata.empty() || !left.ends_with('}')) return {};
    try {
      check_metadata(description.metadata);
    } catch (const std::invalid_argument&) {
      return {};
    }
    return description;
  }
  return reader.rest() == "}" ? std::optional(description) : std::nullopt;
}

}  // namespace hh::retrieval

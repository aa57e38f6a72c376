// SPDX-License-Identifier: Apache-2.0
#include "retrieval/files/code_lines.h"

#include <nlohmann/json.hpp>

#include "engine/text/json_text.h"
#include "engine/text/utf8.h"
#include "retrieval/files/item_files.h"

namespace hh::retrieval {

std::string tsv_field(std::string_view text) {
  std::string field;
  for (const char c : text) {
    switch (c) {
      case '\t':
        field += "\\t";
        break;
      case '\n':
        field += "\\n";
        break;
      case '\r':
        field += "\\r";
        break;
      case '\\':
        field += "\\\\";
        break;
      default:
        field += c;
    }
  }
  return field;
}

std::string code_lines(const CodeSet& set, CodeLines format) {
  std::string lines;
  for (std::int64_t i = 0; i < set.count(); ++i) {
    const std::int64_t id = set.ids[std::size_t(i)];
    const std::string code = code_to_hex(set.codes, i);
    if (format == CodeLines::kTsv) {
      lines += std::to_string(id) + '\t' + code + '\t' + tsv_field(set.name(i)) + '\n';
    } else {
      const nlohmann::json line{{"id", id}, {"code", code}, {"name", as_utf8(set.name(i))}};
      lines += json_text(line) + '\n';
    }
  }
  return lines;
}

}  // namespace hh::retrieval

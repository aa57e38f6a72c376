// SPDX-License-Identifier: Apache-2.0
#include "pipeline/recipe_help.h"

#include <map>
#include <string_view>
#include <vector>

namespace hh::pipeline {
namespace {

std::string trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return "";
  return std::string(text.substr(begin, text.find_last_not_of(' ') + 1 - begin));
}

/// Without the marks of Markdown: "`auto`" is auto, "[here](there.md)" is docs/there.md.
std::string plain(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '`') continue;
    const std::size_t middle = text[i] == '[' ? text.find("](", i) : std::string_view::npos;
    const std::size_t end = middle == std::string_view::npos ? middle : text.find(')', middle);
    if (end != std::string_view::npos) {
      out += "docs/" + std::string(text.substr(middle + 2, end - middle - 2));
      i = end;
    } else {
      out += text[i];
    }
  }
  return out;
}

/// A row of a table: key, default, values, unit, meaning. Anything else is empty.
std::vector<std::string> cells_of(std::string_view line) {
  std::vector<std::string> cells;
  if (!line.starts_with("| ") || line.find('.') == std::string_view::npos) return cells;
  line.remove_prefix(1);
  for (std::size_t end; (end = line.find('|')) != std::string_view::npos;) {
    cells.push_back(trimmed(line.substr(0, end)));
    line.remove_prefix(end + 1);
  }
  return cells.size() == 5 ? cells : std::vector<std::string>{};
}

std::string wrapped(const std::string& text) {
  constexpr std::size_t kColumns = 100;
  std::string out, line = "#";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    if (line.size() > 1 && line.size() + 1 + end - at > kColumns) {
      out += line + "\n";
      line = "#";
    }
    line += " " + text.substr(at, end - at);
    at = end + 1;
  }
  return out + line + "\n";
}

std::map<std::string, std::string> comments() {
  std::map<std::string, std::string> all;
  for (std::string_view rest = kRecipePage; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::vector<std::string> cells = cells_of(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (cells.empty()) continue;
    // A list of values in backticks stays a list; "0 or more" is as it stands.
    std::string text = cells[4] + " (";
    if (!cells[3].empty()) text += cells[3] + "; ";
    all[cells[0]] = wrapped(plain(text + cells[2] + "; default " + cells[1] + ")"));
  }
  return all;
}

}  // namespace

std::string recipe_comment(const std::string& key) {
  static const std::map<std::string, std::string> kComments = comments();
  const auto found = kComments.find(key);
  return found == kComments.end() ? "" : found->second;
}

}  // namespace hh::pipeline

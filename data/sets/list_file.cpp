// SPDX-License-Identifier: Apache-2.0
#include "data/sets/list_file.h"

#include <algorithm>
#include <cctype>
#include <climits>
#include <stdexcept>
#include <utility>

#include "engine/files/file.h"
#include "engine/text/counted.h"
#include "kernels/core/check.h"

namespace hh::data {
namespace {

constexpr std::size_t kMaxListBytes = std::size_t{1} << 30;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

/// The next field of `line`, which loses it; empty at the end.
std::string_view next_field(std::string_view& line) {
  while (!line.empty() && is_blank(line.front())) line.remove_prefix(1);
  std::size_t n = 0;
  while (n < line.size() && !is_blank(line[n])) ++n;
  const std::string_view field = line.substr(0, n);
  line.remove_prefix(n);
  return field;
}

bool is_number(std::string_view field) {
  return !field.empty() && std::all_of(field.begin(), field.end(),
                                       [](unsigned char c) { return std::isdigit(c) != 0; });
}

/// One line: its path is taken, `rest` are its labels. Throws std::runtime_error with the reason.
std::string take_path(std::string_view line, std::string_view& rest) {
  line = trimmed(line);
  if (line.starts_with('"')) {
    std::string path;
    for (std::size_t i = 1; i < line.size(); ++i) {
      if (line[i] != '"') {
        path += line[i];
      } else if (i + 1 < line.size() && line[i + 1] == '"') {
        path += line[i++];
      } else {
        rest = line.substr(i + 1);
        return path;
      }
    }
    throw std::runtime_error(
        "the quote before the path has no counterpart: put one behind the path");
  }
  rest = line;
  const std::string_view path = next_field(rest);
  // A blank may belong to the path when a tab comes after it; "a.jpg 0\t1" has labels behind it.
  const std::size_t tab = line.find('\t');
  if (tab == std::string_view::npos || tab <= path.size()) return std::string(path);
  std::string_view labels = line.substr(path.size(), tab - path.size());
  for (auto field = next_field(labels); !field.empty(); field = next_field(labels)) {
    if (is_number(field)) continue;
    rest = line.substr(tab);
    return std::string(trimmed(line.substr(0, tab)));
  }
  return std::string(path);
}

/// Appends the labels of one line; their number.
int take_labels(std::string_view rest, bool class_numbers, std::vector<std::uint16_t>& labels) {
  int count = 0;
  for (auto field = next_field(rest); !field.empty(); field = next_field(rest)) {
    ++count;
    constexpr std::size_t kShown = 40, kDigits = 9;
    const std::string shown =
        "label " + std::to_string(count) + " is \"" + std::string(field.substr(0, kShown)) + "\"; ";
    if (!is_number(field)) {
      throw std::runtime_error(shown +
                               (class_numbers ? "a class number is needed" : "0 or 1 is needed") +
                               " (a path with spaces is put in double quotes or before a tab)");
    }
    if (!class_numbers) {
      if (field != "0" && field != "1") {
        throw std::runtime_error(shown +
                                 "0 or 1 is needed (if it is the number of a class, say "
                                 "data.list_labels = \"class\", or --list-labels class)");
      }
      labels.push_back(field == "1");
    } else {
      const long value = field.size() > kDigits ? LONG_MAX : std::stol(std::string(field));
      if (value >= Labels::kMaxClasses) {
        throw std::runtime_error(shown + "class numbers are 0 to " +
                                 std::to_string(Labels::kMaxClasses - 1));
      }
      labels.push_back(std::uint16_t(value));
    }
    if (count > (class_numbers ? 1 : Labels::kMaxClasses)) {
      throw std::runtime_error("there are more than " +
                               std::to_string(class_numbers ? 1 : Labels::kMaxClasses) + " labels");
    }
  }
  if (count == 0)
    throw std::runtime_error(
        "there are no labels after the path: write one number a class, or the class's");
  return count;
}

}  // namespace

void refuse_utf16(std::string_view text, const std::string& name) {
  const bool mark = text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff");
  // Without a mark every other byte of a path is zero.
  const bool zeros = text.size() >= 4 && (text[0] == 0) != (text[1] == 0) &&
                     (text[2] == 0) == (text[0] == 0) && (text[3] == 0) == (text[1] == 0);
  if (mark || zeros) {
    throw std::runtime_error(name +
                             ": it is UTF-16 text: save it as UTF-8 (iconv -f UTF-16 -t UTF-8)");
  }
}

bool has_labels(std::string_view line) {
  std::string_view rest;
  try {
    take_path(line, rest);
  } catch (const std::runtime_error&) {  // a quote of the path's own
    return false;
  }
  std::string_view field = next_field(rest);
  if (field.empty()) return false;
  for (; !field.empty(); field = next_field(rest)) {
    if (!is_number(field)) return false;
  }
  return true;
}

ListLabels list_labels_named(const std::string& name) {
  if (name == "auto") return ListLabels::kAuto;
  if (name == "columns") return ListLabels::kColumns;
  if (name == "class") return ListLabels::kClass;
  throw std::invalid_argument("list labels \"" + name + "\": auto, columns or class is needed");
}

ImageList parse_list(std::string_view text, const std::string& name, ListLabels labels) {
  ImageList list;
  list.name = name;
  list.class_numbers = labels == ListLabels::kClass;
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  refuse_utf16(text, name);
  std::int64_t number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (trimmed(line).empty()) continue;
    try {
      if (number > INT_MAX) throw std::runtime_error("there are more lines than 2147483647");
      if (line.find('\0') != std::string_view::npos)
        throw std::runtime_error("it holds a zero byte: save the list as UTF-8 text");
      if (std::int64_t(list.paths.size()) == kMaxListedImages) {
        throw std::runtime_error("there are more than " + std::to_string(kMaxListedImages) +
                                 " images");
      }
      std::string_view rest;
      std::string path = take_path(line, rest);
      if (path.empty())
        throw std::runtime_error("its path is empty: write the path of an image first");
      const int columns = take_labels(rest, list.class_numbers, list.labels);
      if (list.paths.empty()) list.columns = columns;
      if (columns != list.columns) {
        throw std::runtime_error((columns == 1 ? "there is " : "there are ") +
                                 counted(columns, "label") + ", and the first image has " +
                                 std::to_string(list.columns) + ": give all images as many");
      }
      list.paths.push_back(std::move(path));
    } catch (const std::runtime_error& error) {
      throw std::runtime_error(name + ":" + std::to_string(number) + ": " + error.what());
    }
    list.lines.push_back(std::int32_t(number));
  }
  if (list.paths.empty())
    throw std::runtime_error(
        name + ": there is no image in the list: write a line for each, path and labels");
  if (labels == ListLabels::kAuto && list.columns == 1) {
    throw std::runtime_error(
        name +
        ": each line has one number after its path. If it is the number of the image's class, say "
        "data.list_labels = \"class\" (--list-labels class); if it is 1 for members of the only "
        "class, "
        "\"columns\"");
  }
  return list;
}

ImageList read_list(const std::filesystem::path& path, ListLabels labels) {
  const auto bytes = read_file_or_pipe(path, kMaxListBytes);
  return parse_list({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string(),
                    labels);
}

std::unique_ptr<Dataset> open_lists(std::vector<ImageList> lists,
                                    const std::filesystem::path& image_root,
                                    const DecodeOptions& decode) {
  HH_PRECONDITION(!lists.empty(), "open_lists: no list is given");
  std::vector<std::string> names;
  std::size_t items = 0;
  int classes = lists.front().class_numbers ? 0 : lists.front().columns;
  for (const ImageList& list : lists) {
    names.push_back(list.name);
    items += list.paths.size();
    if (list.columns != lists.front().columns ||
        list.class_numbers != lists.front().class_numbers) {
      throw std::runtime_error(list.name + ": its lines have " + counted(list.columns, "label") +
                               ", those of " + names.front() + " have " +
                               std::to_string(lists.front().columns) +
                               ": write lists of the same classes");
    }
    if (list.class_numbers) {
      classes =
          std::max(classes, 1 + int(*std::max_element(list.labels.begin(), list.labels.end())));
    }
  }
  Labels labels(std::int64_t(items), classes);
  std::vector<FileDataset::Item> files;
  files.reserve(items);
  for (std::size_t part = 0; part < lists.size(); ++part) {
    ImageList& list = lists[part];
    for (std::size_t i = 0; i < list.paths.size(); ++i) {
      const auto item = std::int64_t(files.size());
      const auto columns = std::size_t(list.columns);
      for (std::size_t c = 0; c < columns; ++c) {
        const std::uint16_t label = list.labels[i * columns + c];
        if (list.class_numbers) {
          labels.set(item, label);
        } else if (label != 0) {
          labels.set(item, int(c));
        }
      }
      files.push_back({std::move(list.paths[i]), std::int32_t(part), list.lines[i]});
    }
  }
  return std::make_unique<FileDataset>(image_root, std::move(names), std::move(files),
                                       std::move(labels), std::vector<std::string>{}, decode);
}

}  // namespace hh::data

// SPDX-License-Identifier: Apache-2.0
#include "data/sets/list_file.h"

#include <algorithm>
#include <climits>
#include <stdexcept>
#include <utility>

#include "engine/files/file.h"
#include "kernels/core/check.h"

namespace hh::data {
namespace {

constexpr std::size_t kMaxListBytes = std::size_t{1} << 30;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

/// The next field of `line`, which loses it; empty at the end.
std::string_view next_field(std::string_view& line) {
  while (!line.empty() && is_blank(line.front())) line.remove_prefix(1);
  std::size_t n = 0;
  while (n < line.size() && !is_blank(line[n])) ++n;
  const std::string_view field = line.substr(0, n);
  line.remove_prefix(n);
  return field;
}

}  // namespace

ImageList parse_list(std::string_view text, const std::string& name) {
  ImageList list;
  list.name = name;
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  std::int64_t number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    const auto fail = [&](const std::string& what) {
      throw std::runtime_error(name + ":" + std::to_string(number) + ": " + what);
    };
    if (number > INT_MAX) fail("there are too many lines");
    const std::string_view path = next_field(line);
    if (path.empty()) continue;
    if (path.find('\0') != std::string_view::npos) fail("the path holds a zero byte");
    if (std::int64_t(list.paths.size()) == kMaxListedImages) {
      fail("there are more than " + std::to_string(kMaxListedImages) + " images");
    }
    int classes = 0;
    for (auto field = next_field(line); !field.empty(); field = next_field(line)) {
      if (field != "0" && field != "1") {
        fail("label " + std::to_string(classes + 1) + " is \"" + std::string(field.substr(0, 40)) +
             "\"; 0 or 1 is needed (a path must not hold spaces)");
      }
      if (++classes > Labels::kMaxClasses) {
        fail("there are more than " + std::to_string(Labels::kMaxClasses) + " labels");
      }
      list.labels.push_back(field == "1");
    }
    if (classes == 0) fail("there are no labels after the path");
    if (list.paths.empty()) list.classes = classes;
    if (classes != list.classes) {
      fail("there are " + std::to_string(classes) + " labels, and the first image has " +
           std::to_string(list.classes));
    }
    list.paths.emplace_back(path);
    list.lines.push_back(std::int32_t(number));
  }
  if (list.paths.empty()) throw std::runtime_error(name + ": there is no image in the list");
  return list;
}

ImageList read_list(const std::filesystem::path& path) {
  const auto bytes = read_file(path, kMaxListBytes);
  return parse_list({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string());
}

std::unique_ptr<Dataset> open_lists(std::vector<ImageList> lists,
                                    const std::filesystem::path& image_root,
                                    const DecodeOptions& decode) {
  HH_REQUIRE(!lists.empty(), "open_lists: no list is given");
  std::vector<std::string> names;
  std::size_t items = 0;
  for (const ImageList& list : lists) {
    names.push_back(list.name);
    items += list.paths.size();
    if (list.classes != lists.front().classes) {
      throw std::runtime_error(list.name + ": its lines have " + std::to_string(list.classes) +
                               " labels, those of " + names.front() + " have " +
                               std::to_string(lists.front().classes));
    }
  }
  const auto classes = std::size_t(lists.front().classes);
  Labels labels(std::int64_t(items), lists.front().classes);
  std::vector<FileDataset::Item> files;
  files.reserve(items);
  for (std::size_t part = 0; part < lists.size(); ++part) {
    ImageList& list = lists[part];
    for (std::size_t i = 0; i < list.paths.size(); ++i) {
      for (std::size_t c = 0; c < classes; ++c) {
        if (list.labels[i * classes + c]) labels.set(std::int64_t(files.size()), int(c));
      }
      files.push_back({std::move(list.paths[i]), std::int32_t(part), list.lines[i]});
    }
  }
  return std::make_unique<FileDataset>(image_root, std::move(names), std::move(files),
                                       std::move(labels), std::vector<std::string>{}, decode);
}

}  // namespace hh::data

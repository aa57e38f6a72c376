// SPDX-License-Identifier: Apache-2.0
// Image lists: one image a line, its path and its labels: `path l_1 l_2 ... l_n`, each l 0 or 1 (n
// classes), or `path c`, the number of its only class. Blank lines are skipped, lines may end in CR
// LF, a byte order mark is passed over. A path with blanks is in double quotes ("" is a quote in
// it), or ends at a tab.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/sets/dataset.h"

namespace hh::data {

/// What a list's numbers are. kAuto: columns; one column alone is refused, since a class number would
/// be read as membership in an only class.
enum class ListLabels : std::uint8_t { kAuto, kColumns, kClass };
/// "auto", "columns", "class". Throws std::invalid_argument listing them.
ListLabels list_labels_named(const std::string& name);

/// Whether a line has numbers and nothing else behind its path.
bool has_labels(std::string_view line);

/// Throws std::runtime_error for text of UTF-16; `name` is for it.
void refuse_utf16(std::string_view text, const std::string& name);

struct ImageList {
  std::string name;  // of the file, for errors
  int columns = 0;   // labels a line; 1 with class numbers
  bool class_numbers = false;
  std::vector<std::string> paths;
  std::vector<std::int32_t> lines;    // 1-based, per image
  std::vector<std::uint16_t> labels;  // images x columns: 0 or 1, or a class number
};

/// A limit for memory's sake: a hostile list of two-byte lines costs 20 times its size.
inline constexpr std::int64_t kMaxListedImages = std::int64_t{1} << 24;

/// Errors are std::runtime_error with `name`, the line, what is there and what is needed.
ImageList parse_list(std::string_view text, const std::string& name,
                     ListLabels labels = ListLabels::kAuto);
/// Also from a pipe.
ImageList read_list(const std::filesystem::path& path, ListLabels labels = ListLabels::kAuto);

/// The images of the lists one after another; all must have the same number of columns (else
/// std::runtime_error). Of class numbers, the largest of all lists says how many classes there are.
/// Relative paths start from `image_root` (empty: the working directory).
std::unique_ptr<Dataset> open_lists(std::vector<ImageList> lists,
                                    const std::filesystem::path& image_root,
                                    const DecodeOptions& decode);

}  // namespace hh::data

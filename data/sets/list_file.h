// SPDX-License-Identifier: Apache-2.0
// Image lists: one image a line, `path l_1 l_2 ... l_n`, each l 0 or 1 (n classes). Blank lines are
// skipped, lines may end in CR LF, a byte order mark is passed over; a path holds no white space.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/sets/dataset.h"

namespace hh::data {

struct ImageList {
  std::string name;  // of the file, for errors
  int classes = 0;
  std::vector<std::string> paths;
  std::vector<std::int32_t> lines;   // 1-based, per image
  std::vector<std::uint8_t> labels;  // images x classes, 0 or 1
};

/// A limit for memory's sake: a hostile list of two-byte lines costs 20 times its size.
inline constexpr std::int64_t kMaxListedImages = std::int64_t{1} << 24;

/// Errors are std::runtime_error with `name`, the line, what is there and what is needed.
ImageList parse_list(std::string_view text, const std::string& name);
ImageList read_list(const std::filesystem::path& path);

/// The images of the lists one after another; all must have the same number of classes (else
/// std::runtime_error). Relative paths start from `image_root` (empty: the working directory).
std::unique_ptr<Dataset> open_lists(std::vector<ImageList> lists,
                                    const std::filesystem::path& image_root,
                                    const DecodeOptions& decode);

}  // namespace hh::data

// Image lists: one image a line, `path l_1 l_2 ... l_n`, each l 0 or 1 (n classes). Blank lines are
// skipped; a path holds no white space.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"

namespace hh::data {

struct ImageList {
  int classes = 0;
  std::vector<std::string> paths;
  std::vector<std::int32_t> lines;   // 1-based, per image
  std::vector<std::uint8_t> labels;  // images x classes, 0 or 1
};

/// `name` is for errors, which say it with the line: std::runtime_error.
ImageList parse_list(std::string_view text, const std::string& name);
ImageList read_list(const std::filesystem::path& path);

/// The lists one after another; all must have the same number of classes.
std::unique_ptr<Dataset> open_lists(const std::vector<std::filesystem::path>& lists,
                                    const std::filesystem::path& image_root,
                                    const DecodeOptions& decode);

}  // namespace hh::data

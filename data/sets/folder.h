// SPDX-License-Identifier: Apache-2.0
// A folder per class: its sub-folders, sorted by name, are the classes; the image files below them
// (at any depth), sorted by path, the items. Links to folders are followed, each folder is read
// once. What systems leave behind is passed over: names that begin with a dot, __MACOSX, @eaDir and
// the like. What was passed over is in the set's notes(), but for names that begin with a dot.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/sets/dataset.h"

namespace hh::data {

/// Whether a file would be taken by that rule: no part of its path is passed over, and its extension
/// is an image's.
bool is_image_path(const std::filesystem::path& path);

/// A class folder without images is left out, with a note. Throws std::runtime_error when there is
/// no sub-folder, or no image in any. Files are chosen by extension (.jpg .jpeg .jpe .jfif .png
/// .webp .gif .tif .tiff .bmp .dib .pbm .pgm .ppm .pnm, and where reads_heif() .heic .heif .hif
/// .avif; any case).
std::unique_ptr<FileDataset> open_folder(const std::filesystem::path& folder,
                                         const DecodeOptions& decode);

/// Image files of a folder, at any depth: their paths from there, sorted.
struct ImageFiles {
  std::vector<std::string> paths;
  std::vector<std::string>
      dangling;                    // links that lead nowhere and aren't named as images: folders?
  std::vector<std::string> notes;  // of what was passed over, a line or none
};
/// Throws std::runtime_error where there is no such folder, or one below it can't be read.
ImageFiles list_images(const std::filesystem::path& folder);

/// All image files of a folder, at any depth, sorted, without labels (one class that none has).
std::unique_ptr<Dataset> open_images(const std::filesystem::path& folder,
                                     const DecodeOptions& decode);

}  // namespace hh::data

// SPDX-License-Identifier: Apache-2.0
// A folder per class: its sub-folders, sorted by name, are the classes; the image files below them
// (at any depth), sorted by path, the items. Names that begin with a dot are passed over.
#pragma once
#include <filesystem>
#include <memory>

#include "data/sets/dataset.h"

namespace hh::data {

/// Throws std::runtime_error when there is no sub-folder, or no image in any. Files are chosen by
/// extension (.jpg .jpeg .png .bmp .ppm .pgm, any case).
std::unique_ptr<Dataset> open_folder(const std::filesystem::path& folder,
                                     const DecodeOptions& decode);

/// All image files of a folder, at any depth, sorted, without labels (one class that none has).
std::unique_ptr<Dataset> open_images(const std::filesystem::path& folder,
                                     const DecodeOptions& decode);

}  // namespace hh::data

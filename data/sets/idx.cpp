// SPDX-License-Identifier: Apache-2.0
#include "data/sets/idx.h"

#include <stdexcept>
#include <string>

#include "data/sets/gunzip.h"
#include "engine/files/file.h"
#include "engine/text/counted.h"
#include "kernels/core/check.h"

namespace hh::data {
namespace {

const std::vector<std::string> kFashionClasses = {"T-shirt/top", "Trouser",   "Pullover", "Dress",
                                                  "Coat",        "Sandal",    "Shirt",    "Sneaker",
                                                  "Bag",         "Ankle boot"};

/// `stem` or `stem`.gz, whichever there is.
IdxArray read_either(const std::filesystem::path& folder, const std::string& stem) {
  for (const char* ending : {".gz", ""}) {
    const auto path = folder / (stem + ending);
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) return read_idx(path);
  }
  throw std::runtime_error((folder / stem).string() +
                           "[.gz] is missing (Debian: apt install dataset-fashion-mnist)");
}

}  // namespace

IdxArray parse_idx(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < 4)
    throw std::runtime_error("idx: it is truncated in its header: fetch the file again");
  if (bytes[0] != 0 || bytes[1] != 0)
    throw std::runtime_error("idx: it isn't an idx file, which begins with two zero bytes");
  if (bytes[2] != 0x08) {
    throw std::runtime_error("idx: its type is " + std::to_string(bytes[2]) +
                             "; only 8 (unsigned bytes) is read: fetch the original file");
  }
  const std::size_t axes = bytes[3];
  if (axes < 1 || axes > 4) {
    throw std::runtime_error("idx: it has " + std::to_string(axes) +
                             " axes; 1 to 4 are read: fetch the original file");
  }
  if (bytes.size() < 4 + 4 * axes)
    throw std::runtime_error("idx: it is truncated in its header: fetch the file again");
  IdxArray array;
  std::int64_t count = 1;
  for (std::size_t i = 0; i < axes; ++i) {
    const std::uint8_t* p = bytes.data() + 4 + 4 * i;
    const std::int64_t size = std::int64_t{p[0]} << 24 | p[1] << 16 | p[2] << 8 | p[3];
    array.shape.push_back(size);
    if (size != 0 && count > kMaxIdxBytes / size) {
      throw std::runtime_error("idx: its header declares more than " +
                               std::to_string(kMaxIdxBytes) + " bytes");
    }
    count *= size;
  }
  const auto values = bytes.subspan(4 + 4 * axes);
  if (std::int64_t(values.size()) != count) {
    throw std::runtime_error("idx: its header declares " + std::to_string(count) +
                             " bytes of data, and it has " + std::to_string(values.size()) +
                             ": fetch the file again");
  }
  array.values.assign(values.begin(), values.end());
  return array;
}

IdxArray read_idx(const std::filesystem::path& path) {
  constexpr std::size_t kMaxBytes = std::size_t(kMaxIdxBytes) + 4 + 4 * 4;
  auto bytes = read_file(path, kMaxBytes);
  try {
    return parse_idx(gunzip(std::move(bytes), kMaxBytes));
  } catch (const std::runtime_error& e) {
    throw std::runtime_error(path.string() + ": " + e.what());
  }
}

std::unique_ptr<Dataset> open_fashion_mnist(const std::filesystem::path& folder) {
  std::vector<std::uint8_t> pixels, classes;
  std::int64_t height = 0, width = 0;
  for (const std::string part : {"train", "t10k"}) {
    const IdxArray images = read_either(folder, part + "-images-idx3-ubyte");
    const IdxArray labels = read_either(folder, part + "-labels-idx1-ubyte");
    const auto require = [&](bool good, const std::string& what) {
      if (!good) throw std::runtime_error(folder.string() + ": " + part + ": " + what);
    };
    require(images.shape.size() == 3 && labels.shape.size() == 1, "images need 3 axes, labels 1");
    require(images.shape[0] == labels.shape[0], counted(images.shape[0], "image") + " but " +
                                                    counted(labels.shape[0], "label") +
                                                    ": they must be of one set");
    constexpr std::int64_t kMaxSide = 4096;
    require(
        images.shape[1] >= 1 && images.shape[1] <= kMaxSide && images.shape[2] >= 1 &&
            images.shape[2] <= kMaxSide,
        "images of " + std::to_string(images.shape[1]) + " x " + std::to_string(images.shape[2]));
    require(height == 0 || (images.shape[1] == height && images.shape[2] == width),
            "its images differ in size from the others");
    height = images.shape[1];
    width = images.shape[2];
    for (const std::uint8_t c : labels.values) {
      require(c < kFashionClasses.size(), "a label is " + std::to_string(c) + "; 0 to 9 are known");
    }
    pixels.insert(pixels.end(), images.values.begin(), images.values.end());
    classes.insert(classes.end(), labels.values.begin(), labels.values.end());
  }
  Labels labels(std::int64_t(classes.size()), int(kFashionClasses.size()));
  for (std::size_t i = 0; i < classes.size(); ++i) labels.set(std::int64_t(i), classes[i]);
  return std::make_unique<MemoryDataset>("fashion-mnist", int(height), int(width), 1,
                                         std::move(pixels), std::move(labels), kFashionClasses);
}

}  // namespace hh::data

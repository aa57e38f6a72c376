// SPDX-License-Identifier: Apache-2.0
// The idx format of the MNIST family, plain or gzipped, 8-bit data only:
//   0, 0, type (0x08: u8), number of axes; each axis' size (32 bits, big-endian); the values.
// Source: yann.lecun.com/exdb/mnist.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "data/sets/dataset.h"

namespace hh::data {

struct IdxArray {
  std::vector<std::int64_t> shape;
  std::vector<std::uint8_t> values;
};

/// Throws std::runtime_error: header, sizes over kMaxIdxBytes, fewer or more values than declared.
IdxArray parse_idx(std::span<const std::uint8_t> bytes);
IdxArray read_idx(const std::filesystem::path& path);

/// Fashion-MNIST has 47 MB. Also what a gzipped file may unpack to.
inline constexpr std::int64_t kMaxIdxBytes = std::int64_t{256} << 20;

/// A folder of the four files train-* and t10k-* (gzipped or not): the training images first.
std::unique_ptr<Dataset> open_fashion_mnist(const std::filesystem::path& folder);

}  // namespace hh::data

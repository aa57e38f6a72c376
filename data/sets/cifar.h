// SPDX-License-Identifier: Apache-2.0
// CIFAR-10's binary version: records of 1 label byte and 3072 pixel bytes (planes R, G, B of
// 32x32). Source: www.cs.toronto.edu/~kriz/cifar.html.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "data/sets/dataset.h"

namespace hh::data {

/// Appends the records of one file: HWC pixels and classes. Throws std::runtime_error if the length
/// isn't a whole number of records or a label is over 9.
void parse_cifar10(std::span<const std::uint8_t> bytes, std::vector<std::uint8_t>& pixels,
                   std::vector<std::uint8_t>& classes);

/// data_batch_1..5.bin, then test_batch.bin, in `folder` or its cifar-10-batches-bin.
std::unique_ptr<Dataset> open_cifar10(const std::filesystem::path& folder);

}  // namespace hh::data

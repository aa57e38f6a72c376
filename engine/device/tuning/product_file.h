// SPDX-License-Identifier: Apache-2.0
// The file of timed products: lines, whose last is a check sum of those before. Nothing in it is
// trusted, and an algorithm's name is only compared with those that the library itself proposes.
//
//   hybridhash products 1
//   gpu NVIDIA H200
//   driver 13020
//   cublaslt 130200
//   PRODUCT <tab> ALGORITHM <tab> microseconds by it <tab> by the library's first
//   sum 0123456789abcdef
#pragma once
#include <filesystem>
#include <map>
#include <string>

#include "engine/device/tuning/product_choices.h"

namespace hh {

struct TimedProduct {
  std::string algorithm;
  double us = 0, first_us = 0;
};
using ProductTable = std::map<std::string, TimedProduct>;

/// In `folder`: one file for each GPU, driver and library.
std::filesystem::path product_file(const std::filesystem::path& folder,
                                   const ProductLibrary& library);

/// Empty where there is no file. Throws std::runtime_error with the path and what is wrong: cut short,
/// changed, of another GPU, driver or library, not such a file, unreadable.
ProductTable read_products(const std::filesystem::path& path, const ProductLibrary& library);

/// In place of the old one, at once. Throws std::runtime_error.
void write_products(const std::filesystem::path& path, const ProductLibrary& library,
                    const ProductTable& products);

}  // namespace hh

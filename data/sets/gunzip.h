// SPDX-License-Identifier: Apache-2.0
// gzip, as data sets are shipped in.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace hh::data {

/// Unpacks gzip (its first member); anything that doesn't start with gzip's magic is returned as it
/// is. Throws std::runtime_error on corrupt or truncated data, or if the result is over
/// `max_bytes`.
std::vector<std::uint8_t> gunzip(std::vector<std::uint8_t> bytes, std::size_t max_bytes);

}  // namespace hh::data

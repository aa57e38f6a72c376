// SPDX-License-Identifier: Apache-2.0
// hh_codes: a set of items, and the arrays of pointers that C programs see of it.
#pragma once
#include <memory>
#include <vector>

#include "api/hybridhash.h"
#include "retrieval/index/index.h"

struct hh_codes {
  explicit hh_codes(hh::retrieval::ItemSet items_in);
  hh::retrieval::ItemSet items;
  std::vector<std::uint8_t> bytes;  // [n, ceil(bits / 8)]
  std::vector<const char*> names, metadata, class_names;
};

namespace hh::api {

/// A copy of the caller's arrays. Throws std::invalid_argument for what doesn't fit.
retrieval::ItemSet items_of(const hh_codes_data& data);

/// Packed codes of the caller's bytes [count, ceil(bits / 8)].
retrieval::PackedCodes packed(const std::uint8_t* bytes, std::int64_t count, int bits);

}  // namespace hh::api

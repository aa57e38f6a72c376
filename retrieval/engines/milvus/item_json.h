// SPDX-License-Identifier: Apache-2.0
// What is known of an item as one JSON object, {"l":[1,7],"p":"a/b.jpg","m":{"year":2020}}: its labels,
// its path (engine/text/utf8.h) and its metadata as they were written. What there isn't is left out. Milvus
// takes one such field twice as fast as a field of each kind.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "retrieval/index/items.h"

namespace hh::retrieval {

/// The most that Milvus takes of one JSON value, bytes.
inline constexpr std::size_t kMaxItemJson = 65'536;

std::string item_json(const Description& description);
/// Nothing for what item_json() doesn't write.
std::optional<Description> parse_item_json(std::string_view text);

}  // namespace hh::retrieval

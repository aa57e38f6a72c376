// SPDX-License-Identifier: Apache-2.0
// Items on their way into the index: from what a request says of them.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "apps/serve/served.h"
#include "apps/serve/upload.h"

namespace hh::apps {

struct NewItem {
  std::string name, metadata;
  std::vector<int> labels;
  std::int64_t id = -1;  // of its own; -1: a new one
  retrieval::PackedCodes code;
  std::vector<float> outputs;  // of the network; may be empty

  /// Takes the outputs, and their signs as the code.
  void take(std::vector<float> of_network);
};

/// Values name, metadata, label and id. Throws std::invalid_argument.
NewItem new_item(const ServedItems& served, const Values& sent);
/// Value replace.
bool replace_wanted(const Values& sent);

inline HasItem has_item(const ServedItems& served) {
  return [&](std::int64_t id) { return served.item(id).has_value(); };
}

/// Throws ApiError where an item has the id of another: one of the index, unless that is to be
/// replaced, or one beside it; and where only some have one.
void check_ids(const HasItem& has, std::span<const NewItem> items, bool replace);

/// Throws std::invalid_argument.
retrieval::ItemSet item_set(std::span<const NewItem> items, const std::string& model_hash);

}  // namespace hh::apps

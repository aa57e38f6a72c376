// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/new_items.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <set>
#include <utility>

#include "apps/serve/answer.h"
#include "apps/serve/api_search.h"
#include "kernels/core/check.h"

namespace hh::apps {
namespace {
constexpr std::size_t kMaxText = 1024, kMaxMetadata = std::size_t{64} << 10, kMaxNumber = 20;
}  // namespace

void NewItem::take(std::vector<float> of_network) {
  outputs = std::move(of_network);
  code = retrieval::PackedCodes::from_floats(outputs, 1, int(outputs.size()));
}

NewItem new_item(const ServedItems& served, const Values& sent) {
  NewItem item;
  item.name = sent.one("name", kMaxText);
  const std::filesystem::path path = item.name;
  // Whoever may add items must not thereby read pictures from all over the disk.
  HH_REQUIRE(!path.is_absolute() && std::find(path.begin(), path.end(), "..") == path.end(),
             "name = '" << item.name << "': use a relative path without '..'");
  item.metadata = sent.one("metadata", kMaxMetadata);
  retrieval::check_metadata(item.metadata);
  item.labels = labels_of(served, sent);
  const std::string id = sent.one("id", kMaxNumber);
  if (!id.empty()) item.id = number("id", id, 0, std::numeric_limits<std::int64_t>::max() - 1);
  return item;
}

bool replace_wanted(const Values& sent) {
  const std::string text = sent.one("replace", kMaxNumber);
  return !text.empty() && number("replace", text, 0, 1) == 1;
}

void check_ids(const HasItem& has, std::span<const NewItem> items, bool replace) {
  std::set<std::int64_t> seen;
  for (const NewItem& item : items) {
    HH_REQUIRE((item.id < 0) == (items[0].id < 0),
               "some of the items have an id and some have none: give all of them one, or none");
    if (item.id < 0) continue;
    const std::string id = std::to_string(item.id);
    HH_REQUIRE(seen.insert(item.id).second, "two of the items have the id " << id);
    if (!replace && has(item.id)) {
      throw ApiError{409, "there is an item with id " + id + "; replace it by replace=1"};
    }
  }
}

retrieval::ItemSet item_set(std::span<const NewItem> items, const std::string& model_hash) {
  retrieval::ItemSet all;
  retrieval::CodeSet& set = all.set;
  const auto any = [&](const auto& has) { return std::any_of(items.begin(), items.end(), has); };
  const bool names = any([](const NewItem& item) { return !item.name.empty(); });
  const bool metadata = any([](const NewItem& item) { return !item.metadata.empty(); });
  const bool outputs =
      std::all_of(items.begin(), items.end(), [](const NewItem& i) { return !i.outputs.empty(); });
  for (const NewItem& item : items) {
    for (const int label : item.labels) set.classes = std::max(set.classes, label + 1);
  }
  for (const NewItem& item : items) {
    set.codes.append(item.code);
    set.ids.push_back(std::max<std::int64_t>(item.id, 0));
    if (names) set.names.push_back(item.name);
    if (metadata) all.metadata.push_back(item.metadata);
    if (set.classes > 0) retrieval::append_labels(set.labels, set.classes, item.labels);
    if (outputs) set.outputs.insert(set.outputs.end(), item.outputs.begin(), item.outputs.end());
  }
  set.model_hash = model_hash;
  set.source = "added through hybridhash serve";
  all.validate();
  return all;
}

}  // namespace hh::apps

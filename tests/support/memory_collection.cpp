// SPDX-License-Identifier: Apache-2.0
#include "tests/support/memory_collection.h"

#include <algorithm>
#include <stdexcept>
#include <tuple>

#include "engine/files/file_error.h"

namespace hh::testing {

using namespace retrieval;

namespace {

bool passes(const CollectionItem& item, const CollectionFilter& condition) {
  const IndexFilter& filter = condition.filter;
  const auto& labels = item.description.labels;
  bool is = false;
  if (filter.field == "id") {
    if (filter.op == "<") return item.id < filter.id;
    if (filter.op == "<=") return item.id <= filter.id;
    if (filter.op == ">") return item.id > filter.id;
    if (filter.op == ">=") return item.id >= filter.id;
    is = item.id == filter.id;
  } else if (filter.field == "label") {
    is = std::any_of(condition.classes.begin(), condition.classes.end(), [&](int c) {
      return std::find(labels.begin(), labels.end(), c) != labels.end();
    });
  } else if (filter.field == "path" && filter.op != "~") {
    is = item.description.path == filter.value;
  } else {
    throw std::invalid_argument("filter '" + filter.text + "': not of the collection in memory");
  }
  return (filter.op == "!=") != is;
}

bool passes(const CollectionItem& item, std::span<const CollectionFilter> filters) {
  return std::all_of(filters.begin(), filters.end(),
                     [&](const CollectionFilter& filter) { return passes(item, filter); });
}

}  // namespace

MemoryCollection::MemoryCollection(std::shared_ptr<MemoryServer> server)
    : server_(std::move(server)) {
  const std::lock_guard lock(server_->mutex);
  if (server_->connections >= server_->most_connections) throw TryAgain("memory: too many clients");
  ++server_->connections;
}

MemoryCollection::~MemoryCollection() {
  const std::lock_guard lock(server_->mutex);
  --server_->connections;
  if (locks_) server_->locked = false;
}

std::unique_lock<std::mutex> MemoryCollection::begin() {
  std::unique_lock lock(server_->mutex);
  ++server_->calls;
  broken_ = broken_ || server_->calls == server_->fails_at;
  if (broken_) throw TryAgain("memory: the server has gone");
  return lock;
}

std::optional<CollectionAbout> MemoryCollection::about() {
  const auto lock = begin();
  return known_ = server_->about;
}

void MemoryCollection::change(std::int64_t count, const std::function<void(std::int64_t)>& items,
                              const std::function<void()>& says) {
  const std::lock_guard lock(server_->mutex);
  ++server_->calls;
  const bool fails = !broken_ && server_->calls == server_->fails_at;
  const bool before = broken_ || server_->breaks == Break::kBefore;
  broken_ = broken_ || fails;
  const auto stop = [] { throw TryAgain("memory: the server has gone"); };
  if (broken_ && before) stop();
  items(fails && server_->breaks == Break::kHalf ? count / 2 : count);
  if (fails && server_->breaks != Break::kBehind) stop();
  says();
  if (fails) stop();
}

void MemoryCollection::create(const CollectionAbout& about) {
  change(
      0, [](std::int64_t) {},
      [&] {
        if (server_->about) throw std::runtime_error("memory: there is a collection");
        server_->about = about;
      });
}

void MemoryCollection::drop() {
  change(
      0, [&](std::int64_t) { server_->items.clear(); }, [&] { server_->about.reset(); });
}

void MemoryCollection::lock(double) {
  const auto lock = begin();
  if (server_->locked) throw TryAgain("memory: another process changes the collection");
  server_->locked = locks_ = true;
}

void MemoryCollection::unlock() {
  const auto lock = begin();
  server_->locked = locks_ = false;
}

void MemoryCollection::put(const ItemSet& items, const CollectionAbout& after) {
  items.validate();
  const CodeSet& set = items.set;
  if (set.count() > kPiece) throw std::logic_error("memory: too many items at once");
  const auto put_items = [&](std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
      const auto at = std::size_t(i);
      CollectionItem item{.id = set.ids[at], .code = {}, .description = {}};
      item.code.append(set.codes.view().slice(i, i + 1));
      if (!set.names.empty()) item.description.path = set.names[at];
      if (!items.metadata.empty()) item.description.metadata = items.metadata[at];
      set.label_view().for_each_class(i, [&](int c) { item.description.labels.push_back(c); });
      server_->items[item.id] = std::move(item);
    }
  };
  change(set.count(), put_items, [&] { server_->about = after; });
}

std::int64_t MemoryCollection::remove(std::span<const std::int64_t> ids,
                                      const CollectionAbout& after) {
  std::int64_t removed = 0;
  const auto remove_items = [&](std::int64_t count) {
    for (const std::int64_t id : ids.first(std::size_t(count))) {
      removed += std::int64_t(server_->items.erase(id));
    }
  };
  change(std::int64_t(ids.size()), remove_items, [&] { server_->about = after; });
  return removed;
}

void MemoryCollection::settle(const CollectionAbout& after) {
  change(
      0, [&](std::int64_t) { ++server_->settled; }, [&] { server_->about = after; });
}

std::int64_t MemoryCollection::count(std::span<const CollectionFilter> filters) {
  const auto lock = begin();
  return std::count_if(server_->items.begin(), server_->items.end(),
                       [&](const auto& entry) { return passes(entry.second, filters); });
}

std::vector<std::vector<CollectionHit>> MemoryCollection::search(CodesView queries,
                                                                 const CollectionRequest& request) {
  const auto lock = begin();
  std::vector<std::vector<CollectionHit>> all;
  for (std::int64_t q = 0; q < queries.count; ++q) {
    auto& hits = all.emplace_back();
    for (const auto& [id, item] : server_->items) {
      const int distance = hamming_distance(queries.row(q), item.code.view().row(0));
      const bool excluded = !request.exclude.empty() && request.exclude[std::size_t(q)] == id;
      if (excluded || distance > request.radius.value_or(kMaxBits)) continue;
      if (passes(item, request.filters)) hits.push_back({id, distance});
    }
    std::sort(hits.begin(), hits.end(), [](const CollectionHit& a, const CollectionHit& b) {
      return std::tie(a.distance, a.id) < std::tie(b.distance, b.id);
    });
    if (std::int64_t(hits.size()) > request.k) hits.resize(std::size_t(request.k));
  }
  return all;
}

std::vector<CollectionItem> MemoryCollection::items(std::span<const std::int64_t> ids) {
  const auto lock = begin();
  if (!known_) known_ = server_->about;
  std::vector<CollectionItem> found;
  for (const std::int64_t id : ids) {
    const auto at = server_->items.find(id);
    if (at == server_->items.end()) continue;
    for (const int label : at->second.description.labels) {
      if (label >= known_->classes) throw std::runtime_error("memory: there is no such class");
    }
    found.push_back(at->second);
  }
  return found;
}

std::vector<CollectionItem> MemoryCollection::list(std::int64_t after, std::int64_t limit,
                                                   std::span<const CollectionFilter> filters) {
  const auto lock = begin();
  std::vector<CollectionItem> found;
  for (auto at = server_->items.upper_bound(after);
       at != server_->items.end() && std::int64_t(found.size()) < limit; ++at) {
    if (passes(at->second, filters)) found.push_back(at->second);
  }
  return found;
}

void MemoryCollection::pull(const std::function<void(const ItemSet&)>& piece) {
  const auto lock = begin();
  ItemSet set;
  const CollectionAbout& about = server_->about.value();
  const auto flush = [&] {
    if (set.set.count() > 0) piece(set);
    set = {};
    set.set.classes = about.classes;
  };
  flush();
  for (const auto& [id, item] : server_->items) {
    set.set.codes.append(item.code);
    set.set.ids.push_back(id);
    set.set.names.push_back(item.description.path);
    set.metadata.push_back(item.description.metadata);
    append_labels(set.set.labels, about.classes, item.description.labels);
    if (set.set.count() == 7) flush();  // pieces, also of a few items
  }
  flush();
}

void MemoryCollection::pull_ids(const std::function<void(std::span<const std::int64_t>)>& piece) {
  const auto lock = begin();
  std::vector<std::int64_t> ids;
  for (const auto& entry : server_->items) ids.push_back(entry.first);
  piece(ids);
}

}  // namespace hh::testing

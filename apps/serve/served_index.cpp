// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/served_index.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "engine/text/log.h"
#include "kernels/core/philox.h"
#include "retrieval/index/manifest.h"

namespace hh::apps {

using retrieval::PackedCodes, retrieval::SearchMethod, retrieval::item_of_row;

IndexState::IndexState(retrieval::Index opened, ServedTables* tables)
    : ServedItems(retrieval::CollectionAbout::of(opened.manifest())),
      index(std::move(opened)),
      search_(index),
      tables_(tables) {}

std::optional<ServedItem> IndexState::item(std::int64_t id) const {
  const auto row = index.row_of(id);
  if (!row) return std::nullopt;
  return item_of_row(index, *row);
}

std::vector<float> IndexState::outputs_of(std::int64_t id) const {
  const auto row = index.row_of(id);
  if (!row) return {};
  const auto outputs = index.outputs_of(*row);
  return {outputs.begin(), outputs.end()};
}

ServedHits IndexState::search(std::span<const ApiQuery> queries, const SearchRules& rules,
                              Compute& compute) const {
  PackedCodes codes;
  std::vector<float> outputs;
  std::vector<std::int64_t> rows;
  bool items = false;
  for (const ApiQuery& query : queries) {
    codes.append(query.code);
    if (rules.rerank > 0) {
      outputs.insert(outputs.end(), query.outputs.begin(), query.outputs.end());
    }
    rows.push_back(query.item ? index.row_of(query.item->id).value_or(-1) : -1);
    items = items || rows.back() >= 0;
  }
  if (!items) rows.clear();
  const auto tables = tables_ != nullptr ? tables_->of(shared_from_this()) : nullptr;
  const retrieval::SearchRequest request{
      .k = rules.k,
      .radius = rules.radius,
      .filters = rules.filters,
      .exclude_self = true,
      .rerank = rules.rerank,
      .method = tables ? SearchMethod::kMultiIndex : SearchMethod::kScan,
      .tables = tables.get()};
  retrieval::SearchAnswer answer;
  const auto work = [&] {
    answer = search_.run({.codes = codes, .outputs = outputs, .rows = rows}, request);
  };
  if (queries.size() > 1 || search_.gains_by_threads(request)) {
    compute.on_all_threads(work);
  } else {
    compute.on_one_thread(work);
  }
  ServedHits hits{.of = {},
                  .real = answer.real,
                  .method = answer.scanned > 0 ? "scan" : to_string(answer.method)};
  for (const auto& of_query : answer.hits) {
    auto& found = hits.of.emplace_back();
    found.reserve(of_query.size());
    for (const retrieval::Hit& hit : of_query) found.push_back({hit.row, hit.distance});
  }
  return hits;
}

std::int64_t IndexState::most_together(const SearchRules& rules) const {
  constexpr std::int64_t kTurn = 64;                         // others wait meanwhile
  constexpr std::int64_t kMostHits = std::int64_t{1} << 24;  // in memory
  if (!rules.radius) return kTurn;
  return std::clamp(kMostHits / std::max<std::int64_t>(index.rows(), 1), std::int64_t{1}, kTurn);
}

std::vector<std::optional<ServedItem>> IndexState::described(
    std::span<const std::int64_t> keys) const {
  std::vector<std::optional<ServedItem>> items;
  items.reserve(keys.size());
  for (const std::int64_t row : keys) items.push_back(item_of_row(index, row));
  return items;
}

ItemPage IndexState::list(std::int64_t after, std::int64_t limit,
                          const std::vector<std::string>& filters) const {
  const retrieval::RowMask mask = index.select(filters);
  std::vector<std::pair<std::int64_t, std::int64_t>> found;  // ids and rows
  for (std::int64_t row = 0; row < index.rows(); ++row) {
    const std::int64_t id = index.ids()[std::size_t(row)];
    if (id > after && mask.test(row)) found.emplace_back(id, row);
  }
  const auto shown = std::min(found.size(), std::size_t(limit));
  std::partial_sort(found.begin(), found.begin() + std::ptrdiff_t(shown), found.end());
  ItemPage page{.items = {}, .count = mask.count(), .more = shown < found.size()};
  for (std::size_t i = 0; i < shown; ++i) page.items.push_back(item_of_row(index, found[i].second));
  return page;
}

ItemPage IndexState::random(std::int64_t limit, std::uint64_t seed,
                            const std::vector<std::string>& filters) const {
  const Philox random(seed, RandomPurpose::kShuffle);
  const retrieval::RowMask mask = index.select(filters);
  std::vector<std::int64_t> rows;
  for (std::int64_t row = 0; row < index.rows(); ++row) {
    if (mask.test(row)) rows.push_back(row);
  }
  ItemPage page{.items = {}, .count = std::int64_t(rows.size()), .more = false};
  for (std::size_t i = 0; i < std::min(std::size_t(limit), rows.size()); ++i) {
    const std::size_t left = std::min(rows.size() - i, std::size_t{0xffffffff});
    std::swap(rows[i], rows[i + random.below(i, std::uint32_t(left))]);
    page.items.push_back(item_of_row(index, rows[i]));
  }
  return page;
}

ServedIndex::ServedIndex(const std::filesystem::path& folder, double wait_seconds,
                         const std::string& method)
    : folder_(folder),
      wait_seconds_(wait_seconds),
      stamp_(stamp()),
      tables_(table_builder(method)) {
  state_ = std::make_shared<const IndexState>(retrieval::Index::open(folder), &tables_);
  if (method == "multi-index") {
    tables_.build_first(state_);
  } else {
    tables_.of(state_);
  }
}

ServedIndex::Stamp ServedIndex::stamp() const {
  struct stat facts {};
  if (::stat((folder_ / "manifest.json").c_str(), &facts) != 0) return {};
  return {facts.st_ino, std::uint64_t(facts.st_size), facts.st_mtim.tv_sec, facts.st_mtim.tv_nsec};
}

std::shared_ptr<const IndexState> ServedIndex::newest() {
  const std::lock_guard lock(mutex_);
  const Stamp now = stamp();
  if (!(now == stamp_) && !(now == Stamp{})) {
    // The stamp is older than what is opened, so a change in between shows the next time. One that
    // removes files while they are opened (compaction) makes this fail: then too it is tried again.
    try {
      state_ = std::make_shared<const IndexState>(retrieval::Index::open(folder_, &state_->index),
                                                  &tables_);
      stamp_ = now;
    } catch (const std::runtime_error& error) {
      log(LogLevel::kWarning, std::string("the older state is served: ") + error.what());
    }
  }
  return state_;
}

void ServedIndex::check_there() { retrieval::read_index_manifest(folder_); }

template <class Change>
auto ServedIndex::change(const Change& change) {
  const std::lock_guard lock(write_mutex_);
  const auto known = newest();
  retrieval::IndexWriter writer(folder_, wait_seconds_, &known->index);
  return change(writer);
}

std::vector<std::int64_t> ServedIndex::add(const retrieval::ItemSet& items, bool new_ids,
                                           const std::function<void(const HasItem&)>& check) {
  return change([&](retrieval::IndexWriter& writer) {
    check([&](std::int64_t id) { return writer.index().row_of(id).has_value(); });
    writer.add(items, new_ids ? retrieval::SameId::kRenumber : retrieval::SameId::kReplace);
    const auto ids = writer.index().ids().last(std::size_t(items.set.count()));
    return std::vector<std::int64_t>(ids.begin(), ids.end());
  });
}

bool ServedIndex::remove(std::int64_t id) {
  return change(
      [&](retrieval::IndexWriter& writer) { return writer.remove(std::span(&id, 1)) > 0; });
}

}  // namespace hh::apps

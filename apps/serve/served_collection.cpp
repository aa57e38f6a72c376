// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/served_collection.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "apps/serve/answer.h"
#include "engine/files/file_error.h"
#include "engine/text/log.h"
#include "kernels/core/check.h"
#include "kernels/core/philox.h"

namespace hh::apps {

using retrieval::Collection, retrieval::CollectionAbout;
using Clock = std::chrono::steady_clock;

namespace {

constexpr int kMostConnections = 16;

CollectionAbout about_of(Collection& collection) {
  auto about = collection.about();
  if (!about) throw ApiError{503, "the collection isn't there any more"};
  return *about;
}

}  // namespace

std::int64_t ItemCount::get(const std::function<std::int64_t()>& count) {
  constexpr auto kGood = std::chrono::minutes(1);
  std::unique_lock lock(mutex_);
  const bool good = counted_ && Clock::now() - *counted_ < kGood;
  // One counts, and nobody waits for it who has an older number.
  if (good || (known_ && counting_)) return items_;
  counting_ = true;
  const std::int64_t changes = changes_;
  lock.unlock();
  std::optional<std::int64_t> items;
  try {
    items = count();
  } catch (const ComputeBusy&) {
    lock.lock();
    counting_ = false;
    if (!known_) throw;
    return items_;
  } catch (...) {
    lock.lock();
    counting_ = false;
    throw;
  }
  lock.lock();
  counting_ = false;
  known_ = true;
  items_ = *items;
  if (changes == changes_) counted_ = Clock::now();  // else it is counted anew the next time
  return items_;
}

void ItemCount::forget() {
  const std::lock_guard lock(mutex_);
  ++changes_;
  counted_.reset();
}

std::int64_t CollectionState::count() const {
  return count_.get([&] {
    std::int64_t items = 0;
    pool_.use([&](Collection& collection) { items = collection.count({}); });
    return items;
  });
}

std::optional<ServedItem> CollectionState::item(std::int64_t id) const {
  auto found = described(std::span(&id, 1));
  return std::move(found[0]);
}

ServedHits CollectionState::search(std::span<const ApiQuery> queries, const SearchRules& rules,
                                   Compute&) const {
  HH_REQUIRE(
      rules.rerank == 0,
      "rerank = " << rules.rerank << ": a collection keeps codes and no outputs; leave it out");
  retrieval::CollectionRequest request{.k = rules.radius ? kMostWithin : rules.k,
                                       .radius = rules.radius,
                                       .filters = about().filters(rules.filters),
                                       .exclude = {}};
  retrieval::PackedCodes codes;
  for (const ApiQuery& query : queries) {
    codes.append(query.code);
    if (query.item) {
      request.exclude.resize(std::size_t(queries.size()), -1);
      request.exclude[std::size_t(codes.count()) - 1] = query.item->id;
    }
  }
  ServedHits hits{.of = {}, .real = false, .method = {}};
  pool_.use([&](Collection& collection) {
    hits.of.clear();
    hits.method = collection.server();
    for (const auto& of_query : collection.search(codes, request)) {
      auto& found = hits.of.emplace_back();
      for (const auto& hit : of_query) found.push_back({hit.id, float(hit.distance)});
    }
  });
  return hits;
}

std::int64_t CollectionState::most_together(const SearchRules& rules) const {
  return rules.radius ? 8 : 64;
}

std::vector<std::optional<ServedItem>> CollectionState::described(
    std::span<const std::int64_t> keys) const {
  std::vector<ServedItem> found;
  pool_.use([&](Collection& collection) { found = collection.items(keys); });
  std::unordered_map<std::int64_t, std::size_t> place;
  for (std::size_t i = 0; i < found.size(); ++i) place.emplace(found[i].id, i);
  std::vector<std::optional<ServedItem>> items;
  for (const std::int64_t key : keys) {
    const auto at = place.find(key);
    items.push_back(at == place.end() ? std::nullopt : std::optional(found[at->second]));
  }
  return items;
}

ItemPage CollectionState::list(std::int64_t after, std::int64_t limit,
                               const std::vector<std::string>& filters) const {
  const auto conditions = about().filters(filters);
  ItemPage page;
  pool_.use([&](Collection& collection) {
    page.items = collection.list(after, limit + 1, conditions);
    page.count = conditions.empty() ? 0 : collection.count(conditions);
  });
  if (conditions.empty()) page.count = count();
  page.more = std::int64_t(page.items.size()) > limit;
  if (page.more) page.items.pop_back();
  return page;
}

ItemPage CollectionState::random(std::int64_t limit, std::uint64_t seed,
                                 const std::vector<std::string>& filters) const {
  constexpr std::int64_t kPlaces = 32;
  const std::int64_t places = std::min(limit, kPlaces), run = (limit + places - 1) / places;
  const Philox random(seed, RandomPurpose::kShuffle);
  std::int64_t draws = 0;
  const auto drawn = [&](std::int64_t first, std::int64_t end) {
    constexpr std::uint32_t kSteps = 0xffffffff;
    const double part = double(random.below(draws++, kSteps)) / kSteps;
    return first + std::int64_t(part * double(std::max<std::int64_t>(end - first, 1)));
  };
  const auto conditions = about().filters(filters);
  ItemPage page;
  std::unordered_map<std::int64_t, bool> seen;
  pool_.use([&](Collection& collection) {
    page.items.clear();
    seen.clear();
    draws = 0;
    std::int64_t first = 0, end = about().next_id;
    if (!conditions.empty()) {
      // Where those that pass lie: all ids of a class may stand together.
      const auto least = collection.list(-1, 1, conditions);
      if (!least.empty()) first = least[0].id;
      constexpr int kProbes = 16;
      for (int i = 0; i < kProbes && !least.empty(); ++i) {
        const std::int64_t place = drawn(first, end);
        if (collection.list(place, 1, conditions).empty()) end = std::min(end, place + 1);
      }
    }
    std::vector<std::int64_t> starts;
    for (std::int64_t i = 1; i < places; ++i) starts.push_back(drawn(first, end) - 1);
    std::sort(starts.begin(), starts.end(), std::greater<>());
    starts.push_back(-1);  // so that a few items are all found
    for (const std::int64_t start : starts) {
      const std::int64_t wanted = limit - std::int64_t(page.items.size());
      // The last place gives what the others couldn't.
      const std::int64_t most = start < 0 ? limit : std::min(run, wanted);
      if (wanted <= 0) break;
      for (ServedItem& item : collection.list(start, most, conditions)) {
        if (std::int64_t(page.items.size()) < limit && seen.emplace(item.id, true).second) {
          page.items.push_back(std::move(item));
        }
      }
    }
    page.count = conditions.empty() ? 0 : collection.count(conditions);
  });
  if (conditions.empty()) page.count = count();
  for (std::size_t i = 0; i + 1 < page.items.size(); ++i) {
    const auto left = std::uint32_t(page.items.size() - i);
    std::swap(page.items[i], page.items[i + random.below(draws++, left)]);
  }
  return page;
}

ServedCollection::ServedCollection(const CollectionPool::Connect& connect, double wait_seconds)
    : wait_seconds_(wait_seconds), pool_(connect, kMostConnections, wait_seconds) {
  // Not by the pool, which keeps reasons to itself.
  const auto first = connect();
  const auto about = first->about();
  HH_REQUIRE(about.has_value(), "there is no such collection on " << first->server()
                                                                  << "; hybridhash index push "
                                                                     "makes one of an index");
  state_ = known(*about);
  looked_ = Clock::now();
}

std::shared_ptr<const ServedItems> ServedCollection::known(const CollectionAbout& about) {
  return std::make_shared<const CollectionState>(about, pool_, count_);
}

std::shared_ptr<const ServedItems> ServedCollection::state() {
  constexpr auto kGood = std::chrono::seconds(1);
  {
    const std::lock_guard lock(mutex_);
    if (Clock::now() - looked_ < kGood) return state_;
    looked_ = Clock::now();  // others needn't ask meanwhile
  }
  try {
    pool_.use([&](Collection& collection) {
      const CollectionAbout about = about_of(collection);
      const std::lock_guard lock(mutex_);
      state_ = known(about);
    });
  } catch (const ComputeBusy&) {
    // What is asked of the older state says it.
  }
  const std::lock_guard lock(mutex_);
  return state_;
}

void ServedCollection::check_there() {
  pool_.use([](Collection& collection) { about_of(collection); });
}

void ServedCollection::change(const std::function<void(Collection&, CollectionAbout&)>& work) {
  const std::lock_guard one(write_mutex_);
  pool_.use([&](Collection& collection) {
    about_of(collection);  // a connection that has gone shows here
    try {
      collection.lock(wait_seconds_);
    } catch (const TryAgain&) {
      throw ComputeBusy("another process changes the collection; try again");
    }
    struct Unlock {
      Collection& collection;
      ~Unlock() {
        try {
          collection.unlock();
        } catch (const std::exception&) {
          // The connection has gone, and its lock with it.
        }
      }
    } const unlock{collection};
    CollectionAbout about = about_of(collection);
    about.push = {};  // no index's any more
    try {
      work(collection, about);
    } catch (const TryAgain& error) {
      // Not once more by the pool: new items would be there twice.
      log(LogLevel::kWarning, error.what());
      throw ComputeBusy(
          "the server that keeps the codes went away meanwhile: look whether the change was made "
          "before you try again");
    } catch (const std::invalid_argument&) {
      throw;
    } catch (const std::runtime_error& error) {
      log(LogLevel::kError, error.what());
      throw ApiError{500,
                     "the server that keeps the codes couldn't make the change as a whole; the log "
                     "says why"};
    }
  });
  count_.forget();
  const std::lock_guard lock(mutex_);
  looked_ = {};
}

std::vector<std::int64_t> ServedCollection::add(const retrieval::ItemSet& items, bool new_ids,
                                                const std::function<void(const HasItem&)>& check) {
  std::vector<std::int64_t> ids;
  change([&](Collection& collection, CollectionAbout& after) {
    after.check_belongs(items.set.codes.bits(), items.set.model_hash);
    check([&](std::int64_t id) { return !collection.items(std::span(&id, 1)).empty(); });
    retrieval::ItemSet renumbered;
    const retrieval::ItemSet* put = &items;
    if (new_ids) {
      HH_REQUIRE(items.set.count() < std::numeric_limits<std::int64_t>::max() - after.next_id,
                 "there are no ids left above " << after.next_id << ": give the items their own");
      renumbered = items;
      for (std::int64_t& id : renumbered.set.ids) id = after.next_id++;
      put = &renumbered;
    }
    ids = put->set.ids;
    for (const std::int64_t id : ids) after.next_id = std::max(after.next_id, id + 1);
    after.classes = std::max(after.classes, items.set.classes);
    collection.put(*put, after);
  });
  return ids;
}

bool ServedCollection::remove(std::int64_t id) {
  bool removed = false;
  change([&](Collection& collection, CollectionAbout& after) {
    if (collection.items(std::span(&id, 1)).empty()) return;  // so nothing is changed
    removed = collection.remove(std::span(&id, 1), after) > 0;
  });
  return removed;
}

}  // namespace hh::apps

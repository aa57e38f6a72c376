// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/served_index.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>

namespace hh::apps {

ServedIndex::ServedIndex(const std::filesystem::path& folder, double wait_seconds,
                         const std::string& method)
    : folder_(folder),
      wait_seconds_(wait_seconds),
      stamp_(stamp()),
      tables_(table_builder(method)) {
  state_ = std::make_shared<const IndexState>(retrieval::Index::open(folder));
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

std::shared_ptr<const IndexState> ServedIndex::state() {
  const std::lock_guard lock(mutex_);
  const Stamp now = stamp();
  if (!(now == stamp_) && !(now == Stamp{})) {
    // The stamp is older than what is opened, so a change in between shows the next time. One that
    // removes files while they are opened (compaction) makes this fail: then too it is tried again.
    try {
      state_ = std::make_shared<const IndexState>(retrieval::Index::open(folder_, &state_->index));
      stamp_ = now;
    } catch (const std::runtime_error& error) {
      spdlog::warn("the older state is served: {}", error.what());
    }
  }
  return state_;
}

template <class Change>
auto ServedIndex::change(const Change& change) {
  const std::lock_guard lock(write_mutex_);
  const auto known = state();
  retrieval::IndexWriter writer(folder_, wait_seconds_, &known->index);
  return change(writer);
}

std::vector<std::int64_t> ServedIndex::add(
    const retrieval::ItemSet& items, bool new_ids,
    const std::function<void(const retrieval::Index&)>& check) {
  return change([&](retrieval::IndexWriter& writer) {
    check(writer.index());
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

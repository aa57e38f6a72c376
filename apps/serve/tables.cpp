// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/tables.h"

#include <spdlog/spdlog.h>

#include <new>

#include "apps/serve/served_index.h"
#include "retrieval/search/choice.h"

namespace hh::apps {

using retrieval::Index, retrieval::MultiIndex;

ServedTables::ServedTables(const std::string& method) : method_(method) {
  if (method_ != "scan") thread_ = std::thread([this] { work(); });
}

ServedTables::~ServedTables() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool ServedTables::outgrown(const Index& index) const {
  if (!built_.state || !index.continues(built_.state->index)) return true;
  // Rows that came since are scanned: a tenth of all cost little.
  const std::int64_t rows = built_.state->index.rows();
  return index.rows() - rows > rows / 10;
}

std::shared_ptr<const MultiIndex> ServedTables::of(const std::shared_ptr<const IndexState>& state) {
  if (method_ == "scan") return nullptr;
  std::shared_ptr<const MultiIndex> tables;
  {
    const std::lock_guard lock(mutex_);
    if (built_.tables && state->index.continues(built_.state->index)) tables = built_.tables;
    if (building_ || !outgrown(state->index)) return tables;
    building_ = true;
    wanted_ = state;
  }
  changed_.notify_all();
  return tables;
}

void ServedTables::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !building_; });
}

void ServedTables::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return wanted_ || stopping_; });
    if (stopping_) return;
    Built built{.state = std::move(wanted_), .tables = nullptr};
    wanted_.reset();
    lock.unlock();
    constexpr std::int64_t kUsualK = 20;
    try {
      const retrieval::CodesView codes = built.state->index.codes();
      const bool worth =
          method_ == "multi-index" ||
          retrieval::choose_for_service(codes, kUsualK, retrieval::memory_for_tables()).multi_index;
      if (worth) built.tables = std::make_shared<const MultiIndex>(codes);
    } catch (const std::bad_alloc&) {
      spdlog::warn("there is no memory for the tables of multi-index hashing; codes are scanned");
    }
    lock.lock();
    built_ = std::move(built);
    building_ = false;
    changed_.notify_all();
  }
}

}  // namespace hh::apps

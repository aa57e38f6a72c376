// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/tables.h"

#include <exception>
#include <new>
#include <utility>

#include "apps/serve/served_index.h"
#include "engine/text/log.h"
#include "kernels/core/parallel.h"
#include "retrieval/search/choice.h"

namespace hh::apps {

using retrieval::Index, retrieval::MultiIndex;

ServedTables::Build table_builder(const std::string& method) {
  if (method == "scan") return nullptr;
  return [always = method == "multi-index"](retrieval::CodesView codes) {
    constexpr std::int64_t kUsualK = 20;
    const bool worth =
        always ||
        retrieval::choose_for_service(codes, kUsualK, retrieval::memory_for_tables()).multi_index;
    return worth ? std::make_shared<const MultiIndex>(codes) : nullptr;
  };
}

ServedTables::ServedTables(Build build) : build_(std::move(build)) {
  if (build_) thread_ = std::thread([this] { work(); });
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
  if (!build_) return nullptr;
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

void ServedTables::build_first(const std::shared_ptr<const IndexState>& state) {
  if (!build_) return;
  std::unique_lock lock(mutex_);
  building_ = true;
  wanted_ = state;
  threads_ = cpu::num_threads();
  changed_.notify_all();
  changed_.wait(lock, [&] { return !building_; });
  threads_ = 1;
}

std::shared_ptr<const MultiIndex> ServedTables::built_of(retrieval::CodesView codes) const {
  // Nothing may leave a thread: it would end the process.
  std::string reason;
  try {
    return build_(codes);
  } catch (const std::bad_alloc&) {
    reason = "out of memory";
  } catch (const std::exception& error) {
    reason = error.what();
  } catch (...) {
    reason = "an error of the server itself";
  }
  log(LogLevel::kWarning, "no tables of multi-index hashing (" + reason + "); codes are scanned");
  return nullptr;
}

void ServedTables::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return wanted_ || stopping_; });
    if (stopping_) return;
    Built built{.state = std::move(wanted_), .tables = nullptr};
    wanted_.reset();
    const int threads = threads_;
    lock.unlock();
    {
      const cpu::ThreadLimit limit(threads);
      built.tables = built_of(built.state->index.codes());
    }
    lock.lock();
    built_ = std::move(built);
    building_ = false;
    changed_.notify_all();
  }
}

}  // namespace hh::apps

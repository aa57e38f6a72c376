// SPDX-License-Identifier: Apache-2.0
#include "pipeline/index_push.h"

#include <algorithm>
#include <future>

#include "engine/files/file_error.h"
#include "engine/text/counted.h"
#include "kernels/core/check.h"

namespace hh::pipeline {
namespace {
using retrieval::Collection, retrieval::CollectionAbout, retrieval::Index, retrieval::ItemSet,
    retrieval::PushState;

constexpr std::size_t kPieceBytes = 32 << 20;  // of paths and metadata
constexpr std::int64_t kBlock = 2048;          // rows that are read at once

struct Piece {
  ItemSet items;
  std::int64_t end = 0;  // the first row behind it
};

/// Behind those of `to`; of names and metadata either may have none.
void append(ItemSet& to, ItemSet&& from) {
  const auto before = std::size_t(to.set.count()), count = std::size_t(from.set.count());
  const auto join = [&](std::vector<std::string>& all, std::vector<std::string>& more) {
    if (all.empty() && more.empty()) return;
    all.resize(before);
    more.resize(count);
    std::move(more.begin(), more.end(), std::back_inserter(all));
  };
  join(to.set.names, from.set.names);
  join(to.metadata, from.metadata);
  to.set.codes.append(from.set.codes);
  to.set.ids.insert(to.set.ids.end(), from.set.ids.begin(), from.set.ids.end());
  to.set.labels.insert(to.set.labels.end(), from.set.labels.begin(), from.set.labels.end());
}

std::size_t text_bytes(const ItemSet& items) {
  std::size_t bytes = 0;
  for (const std::string& name : items.set.names) bytes += name.size();
  for (const std::string& text : items.metadata) bytes += text.size();
  return bytes;
}

/// The items of the rows from `row` on that are not deleted, as many as make a piece.
Piece read_piece(const Index& index, std::int64_t row) {
  Piece piece{.items = index.contents(std::span<const std::int64_t>()), .end = row};
  std::size_t bytes = 0;
  while (piece.end < index.rows() && piece.items.set.count() < Collection::kPiece &&
         bytes < kPieceBytes) {
    const std::int64_t most = std::min(kBlock, Collection::kPiece - piece.items.set.count());
    std::vector<std::int64_t> rows;
    for (; piece.end < index.rows() && std::int64_t(rows.size()) < most; ++piece.end) {
      if (index.is_live(piece.end)) rows.push_back(piece.end);
    }
    ItemSet some = index.contents(rows);
    some.set.outputs.clear();  // collections have none
    bytes += text_bytes(some);
    append(piece.items, std::move(some));
  }
  return piece;
}

class Push {
 public:
  Push(const Index& index, Collection& collection, const PushOptions& options)
      : index_(index),
        collection_(collection),
        options_(options),
        about_(CollectionAbout::of(index.manifest())) {
    about_.push.source = retrieval::push_source(index.manifest());
  }

  PushOutcome run() {
    collection_.lock(options_.wait_seconds);
    try {
      if (begin()) change();
    } catch (...) {
      try {
        collection_.unlock();
      } catch (const std::exception&) {  // the end of the connection does
      }
      throw;
    }
    try {
      collection_.unlock();
    } catch (const TryAgain&) {  // a stop ends this wait too; the end of the connection unlocks
      if (!outcome_.stopped) throw;
    }
    return outcome_;
  }

 private:
  /// The state to go on from, as the collection has it from now on. False where all is done.
  bool begin();
  void drop_old();
  void make();
  /// Whether the collection has this index, or nothing at all. Throws where it has another.
  void check_is_ours(const CollectionAbout& there);
  void change() {
    remove_gone();
    put();
    remove_strangers();
    if (outcome_.stopped) return;
    put_to(index_.rows());
    about_.push.generation = index_.manifest().generation;
    about_.push.manifest = retrieval::manifest_sum(index_.manifest());
    about_.push.strangers = false;
    collection_.settle(about_);
  }
  void remove_gone();
  void put();
  void remove_strangers();
  void remove(const std::vector<std::int64_t>& ids);
  /// Rows up to there are put, once the change under way is made.
  void put_to(std::int64_t rows) {
    sum_.extend(index_, rows);
    about_.push.rows = rows;
    about_.push.sum = sum_.value();
  }
  bool stopped() { return outcome_.stopped = outcome_.stopped || options_.stop(); }

  const Index& index_;
  Collection& collection_;
  const PushOptions& options_;
  CollectionAbout about_;  // after the change under way
  retrieval::RowSum sum_;  // of the rows that were put
  PushOutcome outcome_;
};

void Push::drop_old() {
  std::exception_ptr damage;  // which is what --overwrite is for
  try {
    if (!collection_.about()) return;
  } catch (const TryAgain&) {
    throw;
  } catch (const std::runtime_error&) {
    damage = std::current_exception();
  }
  try {
    collection_.drop();
  } catch (const std::invalid_argument&) {  // it isn't ours: about() said what it is
    if (damage) std::rethrow_exception(damage);
    throw;
  }
}

void Push::make() {
  put_to(0);
  collection_.create(about_);
  outcome_.made = true;
}

void Push::check_is_ours(const CollectionAbout& there) {
  const PushState& state = there.push;
  if (there.next_id == 0) return put_to(0);  // nothing was ever put there
  HH_REQUIRE(state.source == about_.push.source && state.source != 0,
             "the collection's items are not of this index, or of it before it was compacted, or "
             "were changed "
             "by others since; --full puts all of it in their place and removes what it hasn't");
  HH_REQUIRE(state.generation <= index_.manifest().generation && state.rows <= index_.rows(),
             "the collection has a later state of this index (generation "
                 << state.generation << ", the index is at " << index_.manifest().generation
                 << "); push the newer one, or this one in its place by --full");
  put_to(state.rows);
  HH_REQUIRE(about_.push.sum == state.sum,
             "the collection has items of a copy of this index that was changed on its own; --full "
             "puts this one's in their place and removes what it hasn't");
}

bool Push::begin() {
  if (options_.overwrite) drop_old();
  const auto there = collection_.about();
  if (!there) {
    make();
    return true;
  }
  HH_REQUIRE(
      there->bits == about_.bits && retrieval::same_model(there->model_hash, about_.model_hash),
      "the collection has codes of "
          << counted(there->bits, "bit") << " by the model "
          << (there->model_hash.empty() ? "unknown" : there->model_hash) << ", the index of "
          << counted(about_.bits, "bit") << " by "
          << (about_.model_hash.empty() ? "unknown" : about_.model_hash)
          << "; use another --collection, or --overwrite to remove that one first");
  about_.next_id = std::max(about_.next_id, there->next_id);
  if (options_.full) {
    put_to(0);
    about_.push.strangers = true;
  } else {
    check_is_ours(*there);
    outcome_.nothing = is_pushed(index_.manifest(), *there);
    if (outcome_.nothing) return false;
    about_.push.strangers = there->push.strangers;
  }
  // Before the first change, so that a push which is cut short anywhere is seen to be.
  collection_.remove({}, about_);
  return true;
}

void Push::remove(const std::vector<std::int64_t>& ids) {
  for (std::size_t begin = 0; begin < ids.size() && !stopped(); begin += Collection::kPiece) {
    const std::size_t count = std::min(ids.size() - begin, std::size_t(Collection::kPiece));
    outcome_.removed += collection_.remove(std::span(ids).subspan(begin, count), about_);
  }
}

/// All that were ever deleted: which of them the collection has still is what it knows itself.
void Push::remove_gone() {
  if (outcome_.made || about_.push.strangers || index_.manifest().deleted == 0) return;
  std::vector<std::int64_t> ids;
  for (std::int64_t row = 0; row < index_.rows(); ++row) {
    const std::int64_t id = index_.ids()[std::size_t(row)];
    if (!index_.is_live(row) && !index_.row_of(id)) ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  remove(ids);
}

void Push::put() {
  const std::int64_t first = about_.push.rows;
  std::int64_t total = 0;
  for (std::int64_t row = first; row < index_.rows(); ++row) total += index_.is_live(row);
  if (total == 0) return;
  Progress progress(options_.listener, "push", total, 0, "codes");
  // The next piece is read while the server takes this one.
  const auto read = [&](std::int64_t row) {
    return std::async(std::launch::async, [&, row] { return read_piece(index_, row); });
  };
  std::future<Piece> next = read(first);
  while (about_.push.rows < index_.rows() && !stopped()) {
    const Piece piece = next.get();
    if (piece.end < index_.rows()) next = read(piece.end);
    put_to(piece.end);
    if (piece.items.set.count() == 0) continue;
    collection_.put(piece.items, about_);
    outcome_.put += piece.items.set.count();
    progress.update(outcome_.put);
  }
}

void Push::remove_strangers() {
  if (!about_.push.strangers || stopped()) return;
  std::vector<std::int64_t> ids;
  collection_.pull_ids([&](std::span<const std::int64_t> there) {
    for (const std::int64_t id : there) {
      if (!index_.row_of(id)) ids.push_back(id);
    }
  });
  remove(ids);
}

}  // namespace

bool is_pushed(const retrieval::IndexManifest& manifest, const CollectionAbout& about) {
  // Codes of two models can be the same.
  return about.bits == manifest.bits &&
         retrieval::same_model(about.model_hash, manifest.model_hash) &&
         about.push.source == retrieval::push_source(manifest) &&
         about.push.generation == manifest.generation && about.push.rows == manifest.rows() &&
         about.push.manifest == retrieval::manifest_sum(manifest) &&
         (about.push.source != 0 || about.next_id == 0);
}

PushOutcome push(const Index& index, Collection& collection, const PushOptions& options) {
  return Push(index, collection, options).run();
}

}  // namespace hh::pipeline

// SPDX-License-Identifier: Apache-2.0
// An index: codes and all that is known of their items, in a folder that grows, shrinks and
// survives. Exact search runs on its mapped codes (search/hamming_scan.h, search/multi_index.h);
// labels, paths and metadata lie in SQLite. One process writes at a time, any number read.
//
//   manifest.json   what counts (manifest.h)              codes-B.bin  rows of 64-bit words
//   items-B.db      paths, labels, metadata               ids-B.bin    rows of int64
//   deleted-G.bin   a bit a row, of generation G          lock         held by who writes
//   outputs-B.bin   rows of float32, where the network's real-valued outputs are kept
//
// A change first appends rows and waits for the disk, then replaces the manifest: a process that is
// killed, or a disk that is full, at any moment loses at most the change that had not returned.
// A reader keeps the state that it opened.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "retrieval/codes/code_file.h"
#include "retrieval/codes/codes.h"
#include "retrieval/codes/model_hash.h"
#include "retrieval/codes/row_mask.h"
#include "retrieval/index/filter_masks.h"
#include "retrieval/index/items.h"
#include "retrieval/index/late_checks.h"
#include "retrieval/index/manifest.h"
#include "retrieval/index/rows.h"
#include "retrieval/index/rows_by_id.h"

namespace hh::retrieval {

/// Items on their way into an index or out of it.
struct ItemSet {
  CodeSet set;
  std::vector<std::string> metadata;  // a JSON object each, or ""; or no entries at all

  /// Throws std::invalid_argument: arrays that don't fit, metadata that are no JSON objects.
  void validate() const;
};

/// Throws std::invalid_argument unless it is "" or a JSON object of at most 64 KiB.
void check_metadata(const std::string& text);

struct IndexFilter;

struct IndexItem {
  std::int64_t row = 0, id = 0;
  Description description;
};

/// A state of an index, read-only. Safe from many threads.
class Index {
 public:
  /// Checks all sizes, and the check sums of codes, ids and delete marks, on up to
  /// cpu::num_threads() threads. Throws std::runtime_error with the file and what is wrong, also for
  /// a newer version. With an older state of the index at hand, only what came since then is checked.
  /// The check sums of outputs, 32 bits a bit of a code, are left for outputs() and outputs_of().
  static Index open(const std::filesystem::path& folder, const Index* older = nullptr);
  /// Whether this is a later state of the same files: the first rows are those of `older`.
  bool continues(const Index& older) const;

  const std::filesystem::path& folder() const { return folder_; }
  const IndexManifest& manifest() const { return manifest_; }
  int bits() const { return manifest_.bits; }
  std::int64_t rows() const { return rows_; }                       // deleted ones too
  std::int64_t count() const { return rows_ - manifest_.deleted; }  // items
  CodesView codes() const;                                          // of all rows
  std::span<const std::int64_t> ids() const;
  /// The network's real-valued outputs, [rows, bits]; empty where they aren't kept. The first call
  /// compares their check sums. Throws std::runtime_error for damage.
  std::span<const float> outputs() const;
  /// Those of one row, [bits]; empty where they aren't kept. The first call for one of the rows that
  /// were added together compares their check sum, likewise.
  std::span<const float> outputs_of(std::int64_t row) const;
  /// For searches: rows that are not deleted. Null when none is.
  const RowMask* allowed() const { return manifest_.deleted > 0 ? &live_ : nullptr; }
  bool is_live(std::int64_t row) const { return live_.test(row); }

  /// The row of an item. The first call puts ids in order where they don't ascend.
  std::optional<std::int64_t> row_of(std::int64_t id) const;
  IndexItem item(std::int64_t row) const;
  /// The name of a class, or its number.
  std::string class_name(int c) const;
  /// A class by its name or number. Throws std::invalid_argument.
  int class_of(const std::string& name) const;
  /// Rows that are not deleted and pass all filters (filter.h). Those of the last filters are kept,
  /// as searches come with the same ones. Throws std::invalid_argument.
  RowMask select(const std::vector<std::string>& filters) const;
  /// All items, in order of their rows.
  ItemSet contents() const;
  /// The items of these rows, in their order. Throws std::runtime_error for a damaged table.
  ItemSet contents(std::span<const std::int64_t> rows) const;

  /// Throws std::invalid_argument when such codes don't belong here: other bits, another model.
  void check_belongs(int bits, const std::string& model_hash,
                     Int8Codes int8 = Int8Codes::kApart) const;

 private:
  friend class IndexWriter;
  Index(const std::filesystem::path& folder, const IndexManifest& manifest,
        std::shared_ptr<const ItemTable> items, const Index* older);
  void check(const Index* older) const;
  /// Of the segments that hold rows [begin, end).
  void check_outputs(std::int64_t begin, std::int64_t end) const;
  /// Segments whose outputs an older state has checked.
  std::vector<bool> outputs_checked(const Index* older) const;
  std::span<const float> mapped_outputs() const;
  RowMask read_live() const;
  /// Of these rows, in their order.
  std::vector<Description> descriptions(std::span<const std::int64_t> rows) const;
  RowMask passing(const std::string& filter) const;
  /// Of a filter of metadata that found nothing: throws std::invalid_argument where it can't.
  void check_finds(const std::string& text, const IndexFilter& filter) const;

  std::filesystem::path folder_;
  IndexManifest manifest_;
  std::int64_t rows_ = 0;
  MappedRows codes_, ids_, outputs_;
  /// Device and inode of the codes' file, which no other file has while it is mapped; 0: unknown.
  std::pair<std::uint64_t, std::uint64_t> file_;
  RowMask live_;
  std::shared_ptr<LazyRowsById> by_id_;
  std::shared_ptr<LateChecks> outputs_checks_;
  std::shared_ptr<FilterMasks> masks_ = std::make_shared<FilterMasks>();
  std::shared_ptr<const ItemTable> items_;
};

/// Another process writes to the index.
struct IndexBusy : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What becomes of an item whose id the index has already.
enum class SameId { kRefuse, kReplace, kRenumber };

/// Makes an index without items in an empty folder that is there.
void create_index(const std::filesystem::path& folder, int bits, bool keep_outputs = false);

/// Makes an index of these items. An existing one is an error, or replaced when the new one is
/// complete and no other process changes the old one: it waits kWriterWaitSeconds for that. With
/// `keep_outputs` the items' real-valued outputs are kept, of these and of all that
/// are added later. Throws std::invalid_argument (also for an id that comes twice) and
/// std::runtime_error; an old index is then there as it was.
void build_index(const std::filesystem::path& folder, const ItemSet& items,
                 bool replace_existing = false, bool keep_outputs = false,
                 const ItemsDone& progress = {});

/// How long a change waits for another process's, if nothing else is said.
inline constexpr double kWriterWaitSeconds = 10;

/// The right to change an index, or to replace it as a whole.
class IndexLock {
 public:
  /// Waits up to `wait_seconds` for another process. Throws IndexBusy and other std::runtime_error.
  IndexLock(const std::filesystem::path& folder, double wait_seconds);
  ~IndexLock();
  IndexLock(const IndexLock&) = delete;
  IndexLock& operator=(const IndexLock&) = delete;

 private:
  int descriptor_ = -1;
};

/// Changes an index. Every change lasts when its function returns; when it throws, the index is as
/// it was: DiskFull (engine/files/file_error.h) where there is no room, or another
/// std::runtime_error. For one thread.
class IndexWriter {
 public:
  /// Waits up to `wait_seconds` for another process that writes. Throws IndexBusy and other
  /// std::runtime_error.
  /// `older`: as for Index::open().
  explicit IndexWriter(const std::filesystem::path& folder,
                       double wait_seconds = kWriterWaitSeconds, const Index* older = nullptr);
  IndexWriter(const IndexWriter&) = delete;
  IndexWriter& operator=(const IndexWriter&) = delete;

  /// The state after the last change.
  const Index& index() const { return *index_; }

  /// Appends items; returns how many old ones they replaced. kRenumber gives all of them new ids
  /// (manifest().next_id and on). Throws std::invalid_argument.
  std::int64_t add(const ItemSet& items, SameId same_id = SameId::kRefuse,
                   Int8Codes int8 = Int8Codes::kApart, const ItemsDone& progress = {});
  /// Marks items deleted; ids that aren't there are passed over. Returns how many there were.
  std::int64_t remove(std::span<const std::int64_t> ids);
  /// Replaces what is known of an item; its code stays. Throws std::invalid_argument for an unknown
  /// id. (A new code: add() with kReplace.)
  void update(std::int64_t id, const Description& description);
  /// Writes all files anew without the deleted rows. Ids and order stay.
  void compact();

 private:
  void publish(const IndexManifest& manifest, std::shared_ptr<ItemTable> items);
  /// Removes files that the manifest doesn't name.
  void clean() const noexcept;
  IndexManifest next() const;
  void append(IndexManifest& manifest, ItemTable& items, const CodeSet& set,
              std::span<const std::int64_t> ids, std::span<const Description> descriptions,
              const ItemsDone& progress = {}) const;
  void mark_deleted(IndexManifest& manifest, const RowMask& live) const;
  /// Rows of those ids, which are in ascending order.
  std::vector<std::int64_t> live_rows(std::span<const std::int64_t> ids) const;

  std::filesystem::path folder_;
  IndexLock lock_;
  std::unique_ptr<Index> index_;
  std::shared_ptr<ItemTable> items_;
};

}  // namespace hh::retrieval

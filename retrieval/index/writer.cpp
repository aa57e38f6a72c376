// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <thread>

#include "engine/files/file_error.h"
#include "engine/files/folder_in_making.h"
#include "engine/files/xxh64.h"
#include "engine/text/counted.h"
#include "kernels/core/check.h"
#include "retrieval/codes/class_names.h"
#include "retrieval/index/index.h"
#include "retrieval/index/snapshot.h"

namespace hh::retrieval {
namespace {

std::span<const std::byte> bytes_of(CodesView codes) {
  return std::as_bytes(std::span(codes.words, std::size_t(codes.count * codes.row_words())));
}

void create_row_files(const std::filesystem::path& folder, const IndexManifest& manifest) {
  create_row_file(folder / manifest.codes_name(), manifest.code_bytes());
  create_row_file(folder / manifest.ids_name(), sizeof(std::int64_t));
  if (!manifest.outputs) return;
  create_row_file(folder / manifest.outputs_name(), manifest.output_bytes());
}

/// Of all items, class c as to[c]; nothing at all where nothing is known of any.
std::vector<Description> descriptions_of(const ItemSet& items, const std::vector<int>& to) {
  const CodeSet& set = items.set;
  std::vector<Description> all;
  if (set.names.empty() && set.classes == 0 && items.metadata.empty()) return all;
  all.resize(std::size_t(set.count()));
  const LabelsView labels = set.label_view();
  for (std::int64_t i = 0; i < set.count(); ++i) {
    Description& d = all[std::size_t(i)];
    if (!set.names.empty()) d.path = set.names[std::size_t(i)];
    if (!items.metadata.empty()) d.metadata = items.metadata[std::size_t(i)];
    labels.for_each_class(i, [&](int c) { d.labels.push_back(to[std::size_t(c)]); });
    std::sort(d.labels.begin(), d.labels.end());
  }
  return all;
}

/// Ascending. Throws std::invalid_argument unless they can be an index's: >= 0, each once.
std::vector<std::int64_t> checked_ids(std::span<const std::int64_t> ids) {
  std::vector<std::int64_t> sorted(ids.begin(), ids.end());
  if (!std::is_sorted(sorted.begin(), sorted.end())) std::sort(sorted.begin(), sorted.end());
  if (sorted.empty()) return sorted;
  HH_REQUIRE(sorted.front() >= 0, "id " << sorted.front() << ": an index takes ids from 0 on");
  HH_REQUIRE(sorted.back() < std::numeric_limits<std::int64_t>::max(),
             "id " << sorted.back() << ": the largest is "
                   << std::numeric_limits<std::int64_t>::max() - 1);
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  HH_REQUIRE(twice == sorted.end(),
             "id " << *twice
                   << " comes twice among the items: give each its own, or leave the ids out "
                      "and take --renumber");
  return sorted;
}

/// Joins the last segments so that few are left however many changes there were: each is at least
/// twice as long as the next. Returns the rows of the last one if its check sums must be made anew.
std::int64_t join_segments(std::vector<IndexSegment>& segments) {
  std::size_t first = segments.size() - 1;
  std::int64_t rows = segments[first].rows;
  while (first > 0 && segments[first - 1].rows < 2 * rows) rows += segments[--first].rows;
  if (first + 1 == segments.size()) return 0;
  segments.resize(first + 1);
  segments[first].rows = rows;
  return rows;
}

/// The folder. Throws when it holds no index, before a lock is made in it.
const std::filesystem::path& an_index(const std::filesystem::path& folder) {
  read_index_manifest(folder);
  return folder;
}

/// The locked descriptor; -1 while another process has it.
int try_lock(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0 && errno == ENOENT) return -1;  // it is being replaced
  if (descriptor < 0) throw_file_error(path, "can't be opened");
  const bool locked = ::flock(descriptor, LOCK_EX | LOCK_NB) == 0;
  const int error = errno;
  struct stat ours {
  }, there{};
  // The index may have been replaced by another meanwhile, with a lock of its own.
  if (locked && ::fstat(descriptor, &ours) == 0 && ::stat(path.c_str(), &there) == 0 &&
      ours.st_dev == there.st_dev && ours.st_ino == there.st_ino) {
    return descriptor;
  }
  ::close(descriptor);
  if (!locked && error != EWOULDBLOCK && error != EINTR) {
    errno = error;
    throw_file_error(path, "can't be locked");
  }
  return -1;
}

}  // namespace

void create_index(const std::filesystem::path& folder, int bits, bool outputs) {
  IndexManifest manifest;
  manifest.identity = new_identity();
  manifest.bits = bits;
  manifest.outputs = outputs;
  create_row_files(folder, manifest);
  const ItemTable items(folder / manifest.items_name(), ItemTable::Mode::kCreate);
  write_index_manifest(folder, manifest);
}

void build_index(const std::filesystem::path& folder, const ItemSet& items, bool replace_existing,
                 bool keep_outputs, const ItemsDone& progress) {
  items.validate();
  const auto place = folder.has_filename() ? folder : folder.parent_path();
  const bool exists = std::filesystem::exists(place) &&
                      !(std::filesystem::is_directory(place) && std::filesystem::is_empty(place));
  HH_REQUIRE(!exists || replace_existing,
             place.string() << " exists already; add to it by hybridhash index add, or replace it "
                               "by --overwrite");
  HH_REQUIRE(!exists || std::filesystem::exists(place / "manifest.json"),
             place.string() << " isn't an index, so it isn't replaced; remove it yourself");
  FolderInMaking made(place);
  create_index(made.path(), items.set.codes.bits(), keep_outputs);
  IndexWriter(made.path()).add(items, SameId::kRefuse, Int8Codes::kApart, progress);
  // No other process may be in the middle of a change when its files go. The old index needn't be
  // one that can be read.
  std::optional<IndexLock> old;
  if (exists) old.emplace(place, kWriterWaitSeconds);
  made.put_in_place();
}

IndexLock::IndexLock(const std::filesystem::path& folder, double wait_seconds) {
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + std::chrono::duration<double>(wait_seconds);
  while ((descriptor_ = try_lock(folder / "lock")) < 0) {
    if (Clock::now() > until) {
      throw IndexBusy(folder.string() +
                      ": another process writes to this index; try again when it's done");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

IndexLock::~IndexLock() { ::close(descriptor_); }

IndexWriter::IndexWriter(const std::filesystem::path& folder, double wait_seconds,
                         const Index* older)
    : folder_(an_index(folder)), lock_(folder, wait_seconds) {
  check_is_no_snapshot(folder);
  const IndexManifest manifest = read_index_manifest(folder);
  items_ = std::make_shared<ItemTable>(folder / manifest.items_name(), ItemTable::Mode::kWrite);
  index_.reset(new Index(folder, manifest, items_, older));
  index_->check(older);
  items_->drop_from(index_->rows());
  clean();
}

void IndexWriter::clean() const noexcept {
  const IndexManifest& m = index_->manifest();
  const auto stale = [&](const std::string& name) {
    const auto ours = [&](const char* prefix, const std::string& current) {
      return name.starts_with(prefix) && !name.starts_with(current);
    };
    return ours("codes-", m.codes_name()) || ours("ids-", m.ids_name()) ||
           ours("outputs-", m.outputs_name()) || ours("items-", m.items_name()) ||
           ours("deleted-", m.deleted_name()) ||
           (name.starts_with("manifest.json.") && name.ends_with(".tmp"));
  };
  try {
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      std::error_code ignored;
      if (stale(entry.path().filename().string())) std::filesystem::remove(entry.path(), ignored);
    }
  } catch (const std::exception&) {
    // It is tried again at the next change, and this one stands already.
  }
}

IndexManifest IndexWriter::next() const {
  IndexManifest manifest = index_->manifest();
  ++manifest.generation;
  return manifest;
}

void IndexWriter::publish(const IndexManifest& manifest, std::shared_ptr<ItemTable> items) {
  // Before the manifest, so that a failure here changes nothing. Behind it nothing throws.
  std::unique_ptr<Index> index(new Index(folder_, manifest, items, index_.get()));
  write_index_manifest(folder_, manifest);
  index_ = std::move(index);
  items_ = std::move(items);
  clean();
}

void IndexWriter::append(IndexManifest& manifest, ItemTable& items, const CodeSet& set,
                         std::span<const std::int64_t> ids,
                         std::span<const Description> descriptions,
                         const ItemsDone& progress) const {
  const std::int64_t before = manifest.rows(), count = set.codes.count();
  if (count > 0) {
    manifest.segments.push_back({.rows = count});
    const std::int64_t joined = join_segments(manifest.segments);
    IndexSegment& segment = manifest.segments.back();
    /// Returns the check sum; of a joined segment it is that of its rows, read again.
    const auto write = [&](const std::string& name, std::size_t size,
                           std::span<const std::byte> bytes) {
      append_rows(folder_ / name, size, before, bytes);
      if (joined == 0) return xxh64(bytes);
      const MappedRows all(folder_ / name, size, before + count);
      return xxh64(all.bytes().last(std::size_t(joined) * size));
    };
    segment.codes = write(manifest.codes_name(), manifest.code_bytes(), bytes_of(set.codes));
    segment.ids = write(manifest.ids_name(), sizeof(std::int64_t), std::as_bytes(ids));
    if (manifest.outputs) {
      // Rows whose check sum is made anew must be those that were written.
      if (joined > 0) index_->check_outputs(before + count - joined, before);
      segment.outputs = write(manifest.outputs_name(), manifest.output_bytes(),
                              std::as_bytes(std::span(set.outputs)));
    }
    manifest.next_id = std::max(manifest.next_id, *std::max_element(ids.begin(), ids.end()) + 1);
  }
  items.insert(before, descriptions, progress);
  for (std::size_t i = descriptions.size(); i-- > 0;) {
    if (descriptions[i].empty()) continue;
    manifest.last_described = before + std::int64_t(i);
    break;
  }
}

std::vector<std::int64_t> IndexWriter::live_rows(std::span<const std::int64_t> ids) const {
  std::vector<std::int64_t> rows;
  if (ids.empty()) return rows;
  const auto all = index_->ids();
  // A few are looked up one by one; for many, one pass over all rows is less work.
  constexpr std::size_t kRowsOfLookup = 256;
  if (ids.size() < all.size() / kRowsOfLookup) {
    for (const std::int64_t id : ids) {
      if (const auto row = index_->row_of(id)) rows.push_back(*row);
    }
    std::sort(rows.begin(), rows.end());
    rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
    return rows;
  }
  for (std::size_t row = 0; row < all.size(); ++row) {
    if (all[row] >= ids.front() && all[row] <= ids.back() && index_->is_live(std::int64_t(row)) &&
        std::binary_search(ids.begin(), ids.end(), all[row])) {
      rows.push_back(std::int64_t(row));
    }
  }
  return rows;
}

void IndexWriter::mark_deleted(IndexManifest& manifest, const RowMask& live) const {
  RowMask deleted(live.rows(), true);
  deleted -= live;
  const auto bytes =
      std::as_bytes(std::span(deleted.words(), std::size_t(deleted.rows() + 63) / 64));
  manifest.deleted = deleted.count();
  manifest.deleted_checksum = xxh64(bytes);
  manifest.deleted_file = manifest.generation;
  write_file_atomically(folder_ / manifest.deleted_name(),
                        {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

std::int64_t IndexWriter::add(const ItemSet& items, SameId same_id, Int8Codes int8,
                              const ItemsDone& progress) {
  items.validate();
  const CodeSet& set = items.set;
  index_->check_belongs(set.codes.bits(), set.model_hash, int8);
  HH_REQUIRE(!index_->manifest().outputs || !set.outputs.empty() || set.count() == 0,
             "the index keeps the network's outputs, and these items have none; add images through "
             "the model, or codes that were encoded with --outputs");
  IndexManifest manifest = next();
  EnteredClasses entered = enter_classes(set, manifest.classes, manifest.class_names);
  manifest.classes = entered.classes;
  manifest.class_names = std::move(entered.names);
  if (index_->rows() == 0) {
    static_cast<CodeOrigin&>(manifest) = set;
  } else if (set.count() > 0) {
    manifest.join(set);
  }
  std::vector<std::int64_t> ids = set.ids, replaced;
  if (same_id == SameId::kRenumber) {
    HH_REQUIRE(manifest.next_id < std::numeric_limits<std::int64_t>::max() - set.count(),
               "there are no ids left above " << manifest.next_id - 1
                                              << ": give ids yourself, or make a new index");
    std::iota(ids.begin(), ids.end(), manifest.next_id);
  } else {
    replaced = live_rows(checked_ids(ids));
  }
  HH_REQUIRE(
      replaced.empty() || same_id == SameId::kReplace,
      "id " << index_->ids()[std::size_t(replaced[0])]
            << (replaced.size() == 1 ? " is"
                                     : " and " + counted(replaced.size() - 1, "other") + " are")
            << " in the index already; use --replace or --renumber");
  append(manifest, *items_, set, ids, descriptions_of(items, entered.to), progress);
  if (!replaced.empty()) {
    RowMask live = index_->select({});
    for (const std::int64_t row : replaced) live.set(row, false);
    live.resize(manifest.rows(), true);
    mark_deleted(manifest, live);
  }
  publish(manifest, items_);
  return std::int64_t(replaced.size());
}

std::int64_t IndexWriter::remove(std::span<const std::int64_t> ids) {
  std::vector<std::int64_t> sorted(ids.begin(), ids.end());
  std::sort(sorted.begin(), sorted.end());
  const std::vector<std::int64_t> rows = live_rows(sorted);
  if (rows.empty()) return 0;
  IndexManifest manifest = next();
  RowMask live = index_->select({});
  for (const std::int64_t row : rows) live.set(row, false);
  mark_deleted(manifest, live);
  publish(manifest, items_);
  return std::int64_t(rows.size());
}

void IndexWriter::update(std::int64_t id, const Description& description) {
  const auto row = index_->row_of(id);
  HH_REQUIRE(row.has_value(), "the index has no item with id " << id);
  ItemSet items;
  items.set.codes.append(index_->codes().slice(*row, *row + 1));
  const auto outputs = index_->outputs_of(*row);
  items.set.outputs.assign(outputs.begin(), outputs.end());
  items.set.ids = {id};
  items.set.names = {description.path};
  items.metadata = {description.metadata};
  if (!description.labels.empty()) {
    const auto [least, most] =
        std::minmax_element(description.labels.begin(), description.labels.end());
    HH_REQUIRE(*least >= 0 && *most < kMaxClasses,
               "label " << (*least < 0 ? *least : *most) << ": use 0 to " << kMaxClasses - 1);
    items.set.classes = *most + 1;
    append_labels(items.set.labels, items.set.classes, description.labels);
  }
  add(items, SameId::kReplace);
}

void IndexWriter::compact() {
  clean();  // what an earlier attempt may have left
  IndexManifest manifest = next();
  manifest.base = manifest.generation;
  manifest.segments.clear();
  manifest.deleted_file = -1;
  manifest.deleted = 0;
  manifest.deleted_checksum = 0;
  manifest.last_described = -1;
  CodeSet set;
  set.codes = PackedCodes(0, index_->bits());
  std::vector<std::int64_t> ids;
  std::vector<Description> descriptions;
  for (std::int64_t row = 0; row < index_->rows(); ++row) {
    if (!index_->is_live(row)) continue;
    set.codes.append(index_->codes().slice(row, row + 1));
    ids.push_back(index_->ids()[std::size_t(row)]);
    const auto values = index_->outputs_of(row);
    set.outputs.insert(set.outputs.end(), values.begin(), values.end());
    if (index_->manifest().last_described >= 0) {
      descriptions.push_back(index_->item(row).description);
    }
  }
  create_row_files(folder_, manifest);
  const auto items =
      std::make_shared<ItemTable>(folder_ / manifest.items_name(), ItemTable::Mode::kCreate);
  append(manifest, *items, set, ids, descriptions);
  // Readers that open the old database from now on won't need its log, which goes with it.
  items_->checkpoint();
  publish(manifest, items);
}

}  // namespace hh::retrieval

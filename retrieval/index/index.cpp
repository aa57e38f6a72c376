// SPDX-License-Identifier: Apache-2.0
#include "retrieval/index/index.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "engine/files/xxh64.h"
#include "engine/text/counted.h"
#include "engine/text/json_text.h"
#include "engine/text/utf8.h"
#include "kernels/core/check.h"
#include "kernels/core/parallel.h"
#include "retrieval/codes/class_names.h"
#include "retrieval/index/filter.h"

namespace hh::retrieval {
namespace {

constexpr std::size_t kMaxMetadata = 1 << 16;
constexpr int kMaxMetadataDepth = 64;

std::pair<std::uint64_t, std::uint64_t> file_id(const std::filesystem::path& path) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0) return {};
  return {facts.st_dev, facts.st_ino};
}

[[noreturn]] void damaged(const std::filesystem::path& path, const std::string& what) {
  throw std::runtime_error(
      path.string() + ": " + what +
      "; the index is damaged: restore a copy, or build it again by hybridhash "
      "index build");
}

/// Rows of one of an index's files, and their check sum as it should be.
struct Part {
  std::filesystem::path path;
  std::int64_t begin, end;
  std::span<const std::byte> bytes;
  std::uint64_t sum;

  static Part of(const std::filesystem::path& path, const MappedRows& rows, std::size_t size,
                 std::int64_t begin, std::int64_t end, std::uint64_t sum) {
    return {path, begin, end,
            rows.bytes().subspan(std::size_t(begin) * size, std::size_t(end - begin) * size), sum};
  }
  bool is_right() const { return xxh64(bytes) == sum; }
  [[noreturn]] void tell() const {
    damaged(path, "the check sum of rows " + std::to_string(begin) + " to " +
                      std::to_string(end - 1) + " is wrong");
  }
};

bool is_metadata(const std::string& text) {
  if (text.empty()) return true;
  int deepest = 0;
  const nlohmann::json json = parse_json(text, kMaxMetadataDepth, deepest);
  return json.is_object() && deepest <= kMaxMetadataDepth;
}

}  // namespace

void ItemSet::validate() const {
  set.validate();
  const auto n = std::size_t(set.count());
  HH_REQUIRE(metadata.empty() || metadata.size() == n,
             counted(n, "code") << ", but " << metadata.size() << " metadata: give one each");
  for (const std::string& text : metadata) check_metadata(text);
}

void check_metadata(const std::string& text) {
  HH_REQUIRE(text.size() <= kMaxMetadata, "metadata of " << text.size() << " bytes; the most is "
                                                         << kMaxMetadata << ": shorten it");
  HH_REQUIRE(is_metadata(text), "metadata must be a JSON object, not " << text.substr(0, 80));
}

Index::Index(const std::filesystem::path& folder, const IndexManifest& manifest,
             std::shared_ptr<const ItemTable> items, const Index* older)
    : folder_(folder), manifest_(manifest), rows_(manifest.rows()), items_(std::move(items)) {
  // First what the next change would remove.
  const bool marked = manifest.deleted_file >= 0;
  std::optional<RowMask> live;
  const bool known = older != nullptr && older->manifest_.base == manifest.base &&
                     older->manifest_.deleted_file == manifest.deleted_file;
  if (marked && !known) live = read_live();
  const auto codes = folder / manifest.codes_name();
  file_ = file_id(codes);
  codes_ = MappedRows(codes, manifest.code_bytes(), rows_);
  if (file_ != file_id(codes)) file_ = {};  // replaced meanwhile: which of the two it is, who knows
  ids_ = MappedRows(folder / manifest.ids_name(), sizeof(std::int64_t), rows_);
  if (manifest.outputs) {
    outputs_ = MappedRows(folder / manifest.outputs_name(), manifest.output_bytes(), rows_);
  }
  outputs_checks_ = std::make_shared<LateChecks>(outputs_checked(older));
  by_id_ = older != nullptr && continues(*older) ? std::make_shared<LazyRowsById>(*older->by_id_)
                                                 : std::make_shared<LazyRowsById>();
  if (known && continues(*older)) {
    live = older->live_;
    live->resize(rows_, true);
  } else if (marked && !live) {
    live = read_live();
  }
  live_ = live ? std::move(*live) : RowMask(rows_, true);
  if (!items_) {
    items_ = std::make_shared<ItemTable>(folder / manifest.items_name(), ItemTable::Mode::kRead);
  }
  if (manifest.last_described >= 0 && items_->get(manifest.last_described).empty()) {
    damaged(folder / manifest.items_name(), "it has lost what it knew of the last items");
  }
}

bool Index::continues(const Index& older) const {
  return file_ != std::pair<std::uint64_t, std::uint64_t>{} && file_ == older.file_ &&
         manifest_.base == older.manifest_.base && rows_ >= older.rows_;
}

RowMask Index::read_live() const {
  const auto path = folder_ / manifest_.deleted_name();
  const MappedFile file(path);
  const auto bytes = file.bytes();
  std::vector<std::uint64_t> words(std::size_t(rows_ + 63) / 64);
  if (bytes.size() % sizeof(std::uint64_t) != 0 || bytes.size() > words.size() * sizeof words[0]) {
    damaged(path, std::to_string(bytes.size()) + " bytes of delete marks for " +
                      std::to_string(rows_) + " rows");
  }
  if (xxh64(bytes) != manifest_.deleted_checksum) damaged(path, "its check sum is wrong");
  std::memcpy(words.data(), bytes.data(), bytes.size());
  for (std::uint64_t& word : words) word = ~word;
  RowMask live(rows_, std::move(words));
  if (rows_ - live.count() != manifest_.deleted) damaged(path, "its marks aren't those counted");
  return live;
}

void Index::check(const Index* older) const {
  const std::int64_t checked = older != nullptr && continues(*older) ? older->rows_ : 0;
  std::vector<Part> parts;
  std::int64_t row = 0;
  for (const IndexSegment& segment : manifest_.segments) {
    const std::int64_t begin = row, end = row + segment.rows;
    row = end;
    if (end <= checked) continue;
    parts.push_back(Part::of(folder_ / manifest_.codes_name(), codes_, manifest_.code_bytes(),
                             begin, end, segment.codes));
    parts.push_back(Part::of(folder_ / manifest_.ids_name(), ids_, sizeof(std::int64_t), begin, end,
                             segment.ids));
  }
  std::vector<char> right(parts.size());
  cpu::parallel_chunks(std::int64_t(parts.size()), [&](std::int64_t i) {
    right[std::size_t(i)] = parts[std::size_t(i)].is_right() ? 1 : 0;
  });
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (!right[i]) parts[i].tell();
  }
}

std::vector<bool> Index::outputs_checked(const Index* older) const {
  const auto& segments = manifest_.segments;
  std::vector<bool> checked(segments.size(), !manifest_.outputs);
  if (!manifest_.outputs || older == nullptr || !continues(*older)) return checked;
  std::int64_t row = 0;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const std::int64_t begin = row, end = row + segments[i].rows;
    row = end;
    checked[i] = end <= older->rows_;
    std::int64_t old_end = 0;
    for (std::size_t j = 0; j < older->manifest_.segments.size(); ++j) {
      const std::int64_t old_begin = old_end;
      old_end += older->manifest_.segments[j].rows;
      const bool apart = old_end <= begin || end <= old_begin;
      checked[i] = checked[i] && (apart || older->outputs_checks_->is_done(j));
    }
  }
  return checked;
}

void Index::check_outputs(std::int64_t begin, std::int64_t end) const {
  if (outputs_checks_->all_done()) return;
  std::int64_t row = 0;
  for (std::size_t i = 0; i < manifest_.segments.size(); ++i) {
    const IndexSegment& segment = manifest_.segments[i];
    const std::int64_t first = row;
    row += segment.rows;
    if (row <= begin || end <= first) continue;
    outputs_checks_->ensure(i, [&] {
      const Part part = Part::of(folder_ / manifest_.outputs_name(), outputs_,
                                 manifest_.output_bytes(), first, row, segment.outputs);
      if (!part.is_right()) part.tell();
    });
  }
}

Index Index::open(const std::filesystem::path& folder, const Index* older) {
  constexpr int kAttempts = 100;
  for (int attempt = 1;; ++attempt) {
    const IndexManifest manifest = read_index_manifest(folder);
    try {
      Index index(folder, manifest, nullptr, older);
      index.check(older);
      // A compaction since then may have removed the database's log before we had it open.
      if (attempt == kAttempts || read_index_manifest(folder).base == manifest.base) return index;
    } catch (const std::runtime_error&) {
      // What the manifest named is gone because there is a newer one; otherwise it's an error.
      if (attempt == kAttempts || read_index_manifest(folder).generation == manifest.generation) {
        throw;
      }
    }
  }
}

CodesView Index::codes() const {
  return {reinterpret_cast<const std::uint64_t*>(codes_.bytes().data()), rows_, bits()};
}

std::span<const std::int64_t> Index::ids() const {
  return {reinterpret_cast<const std::int64_t*>(ids_.bytes().data()), std::size_t(rows_)};
}

std::span<const float> Index::mapped_outputs() const {
  return {reinterpret_cast<const float*>(outputs_.bytes().data()),
          outputs_.bytes().size() / sizeof(float)};
}

std::span<const float> Index::outputs() const {
  check_outputs(0, rows_);
  return mapped_outputs();
}

std::span<const float> Index::outputs_of(std::int64_t row) const {
  if (!manifest_.outputs) return {};
  check_outputs(row, row + 1);
  const auto width = std::size_t(bits());
  return mapped_outputs().subspan(std::size_t(row) * width, width);
}

std::optional<std::int64_t> Index::row_of(std::int64_t id) const {
  for (const std::int64_t row : by_id_->get(ids())->find(ids(), id)) {
    if (is_live(row)) return row;
  }
  return std::nullopt;
}

IndexItem Index::item(std::int64_t row) const {
  return {row, ids()[std::size_t(row)],
          row <= manifest_.last_described ? items_->get(row) : Description{}};
}

std::string Index::class_name(int c) const { return class_text(c, manifest_.class_names); }

RowMask Index::passing(const std::string& text) const {
  const IndexFilter filter = IndexFilter::parse(text);
  RowMask mask(rows_, false);
  if (filter.field == "id") {
    const std::int64_t value = filter.id;
    for (std::int64_t row = 0; row < rows_; ++row) {
      const std::int64_t id = ids()[std::size_t(row)];
      const std::string& op = filter.op;
      mask.set(row, op == "="    ? id == value
                    : op == "!=" ? id != value
                    : op == "<"  ? id < value
                    : op == "<=" ? id <= value
                    : op == ">"  ? id > value
                                 : id >= value);
    }
    return mask;
  }
  std::vector<std::int64_t> rows;
  const bool negated = filter.op == "!=";
  if (filter.field == "label") {
    std::vector<int> classes;
    for (const std::string& label : filter.labels) classes.push_back(class_of(label));
    rows = items_->rows_with_class(classes, rows_);
  } else if (filter.field == "path") {
    rows = items_->rows_with_path(bytes_of_utf8(filter.value), filter.op == "~", rows_);
  } else {
    rows = items_->rows_with_metadata(filter.field, negated ? "=" : filter.op, filter.value, rows_);
    if (rows.empty() && rows_ > 0) check_finds(text, filter);
  }
  for (const std::int64_t row : rows) mask.set(row, true);
  return negated ? RowMask(rows_, true) -= mask : mask;
}

void Index::check_finds(const std::string& text, const IndexFilter& filter) const {
  HH_REQUIRE(items_->any_has(filter.field, rows_),
             "filter '" << text << "': no item's metadata have a '" << filter.field
                        << "'; what all items have is called label, path and id");
  const bool ordered = filter.op != "=" && filter.op != "!=";
  const bool number = items_->any_has(filter.field, rows_, "integer") ||
                      items_->any_has(filter.field, rows_, "real");
  const bool words = filter.value.find_first_of("0123456789") == std::string::npos;
  HH_REQUIRE(!ordered || !words || !number || items_->any_has(filter.field, rows_, "text"),
             "filter '" << text << "': '" << filter.value << "' isn't a number, and '"
                        << filter.field << "' is one");
}

int Index::class_of(const std::string& name) const {
  return class_named(name, manifest_.classes, manifest_.class_names);
}

RowMask Index::select(const std::vector<std::string>& filters) const {
  RowMask mask = live_;
  for (const std::string& filter : filters) {
    std::shared_ptr<const RowMask> rows = masks_->find(filter);
    if (!rows) masks_->keep(filter, rows = std::make_shared<const RowMask>(passing(filter)));
    mask &= *rows;
  }
  return mask;
}

ItemSet Index::contents() const {
  std::vector<std::int64_t> rows;
  rows.reserve(std::size_t(count()));
  for (std::int64_t row = 0; row < rows_; ++row) {
    if (is_live(row)) rows.push_back(row);
  }
  return contents(rows);
}

std::vector<Description> Index::descriptions(std::span<const std::int64_t> rows) const {
  constexpr std::int64_t kBlock = 4096, kSparse = 16;
  std::vector<Description> all;
  all.reserve(rows.size());
  for (std::size_t i = 0; i < rows.size();) {
    const std::int64_t first = rows[i];
    std::size_t last = i;
    while (last + 1 < rows.size() && rows[last + 1] > rows[last] && rows[last + 1] < first + kBlock)
      ++last;
    const std::int64_t end = rows[last] + 1;
    if (end - first > std::int64_t(last - i + 1) * kSparse) {
      all.push_back(item(rows[i++]).description);
      continue;
    }
    std::vector<Description> block = items_->get(first, end);
    for (; i <= last; ++i) all.push_back(std::move(block[std::size_t(rows[i] - first)]));
  }
  return all;
}

ItemSet Index::contents(std::span<const std::int64_t> rows) const {
  ItemSet items;
  CodeSet& set = items.set;
  set.codes = PackedCodes(0, bits());
  set.classes = manifest_.classes;
  set.class_names = manifest_.class_names;
  static_cast<CodeOrigin&>(set) = manifest_;
  const bool described = manifest_.last_described >= 0;
  bool any_path = false, any_metadata = false;
  std::vector<Description> known;
  if (described) known = descriptions(rows);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::int64_t row = rows[i];
    set.codes.append(codes().slice(row, row + 1));
    set.ids.push_back(ids()[std::size_t(row)]);
    const auto values = outputs_of(row);
    set.outputs.insert(set.outputs.end(), values.begin(), values.end());
    Description d = described ? std::move(known[i]) : Description{};
    for (const int c : d.labels) {
      if (c < 0 || c >= set.classes) {
        damaged(folder_ / manifest_.items_name(), "there is a label " + std::to_string(c));
      }
    }
    append_labels(set.labels, set.classes, d.labels);
    if (!described) continue;
    any_path = any_path || !d.path.empty();
    any_metadata = any_metadata || !d.metadata.empty();
    set.names.push_back(std::move(d.path));
    items.metadata.push_back(std::move(d.metadata));
  }
  if (!any_path) set.names.clear();
  if (!any_metadata) items.metadata.clear();
  return items;
}

void Index::check_belongs(int width, const std::string& model_hash, Int8Codes int8) const {
  check_codes_meet({width, model_hash}, {bits(), manifest_.model_hash}, "index", int8);
}

}  // namespace hh::retrieval

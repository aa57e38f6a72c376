#include "retrieval/index.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "kernels/core/check.h"
#include "retrieval/index_checksum.h"
#include "retrieval/index_filter.h"

namespace hh::retrieval {
namespace {

constexpr std::size_t kMaxMetadata = 1 << 16;
constexpr int kMaxMetadataDepth = 64;

std::size_t row_bytes(int bits) { return std::size_t(bits + 63) / 64 * sizeof(std::uint64_t); }

[[noreturn]] void damaged(const std::filesystem::path& path, const std::string& what) {
  throw std::runtime_error(path.string() + ": " + what + "; the index is damaged");
}

bool is_metadata(const std::string& text) {
  if (text.empty()) return true;
  int deepest = 0;
  const auto json = nlohmann::json::parse(
      text,
      [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
        deepest = std::max(deepest, depth);
        return depth <= kMaxMetadataDepth;
      },
      false);
  return json.is_object() && deepest <= kMaxMetadataDepth;
}

}  // namespace

void ItemSet::validate() const {
  set.validate();
  const auto n = std::size_t(set.count());
  HH_REQUIRE(metadata.empty() || metadata.size() == n,
             n << " codes, but " << metadata.size() << " metadata");
  for (const std::string& text : metadata) {
    HH_REQUIRE(text.size() <= kMaxMetadata,
               "metadata of " << text.size() << " bytes; the most is " << kMaxMetadata);
    HH_REQUIRE(is_metadata(text), "metadata must be a JSON object, not " << text.substr(0, 80));
  }
}

Index::Index(const std::filesystem::path& folder, const IndexManifest& manifest,
             std::shared_ptr<const ItemTable> items)
    : folder_(folder),
      manifest_(manifest),
      rows_(manifest.rows()),
      live_(rows_, true),
      items_(std::move(items)) {
  // First what the next change would remove.
  if (manifest.deleted_file >= 0) read_deleted();
  codes_ = MappedRows(folder / manifest.codes_name(), row_bytes(manifest.bits), rows_);
  ids_ = MappedRows(folder / manifest.ids_name(), sizeof(std::int64_t), rows_);
  if (!items_) {
    items_ = std::make_shared<ItemTable>(folder / manifest.items_name(), ItemTable::Mode::kRead);
  }
  if (manifest.last_described >= 0 && items_->get(manifest.last_described).empty()) {
    damaged(folder / manifest.items_name(), "it has lost what it knew of the last items");
  }
}

void Index::read_deleted() {
  const auto path = folder_ / manifest_.deleted_name();
  const MappedFile file(path);
  const auto bytes = file.bytes();
  if (bytes.size() % sizeof(std::uint64_t) != 0 ||
      bytes.size() > std::size_t(rows_ + 63) / 64 * sizeof(std::uint64_t)) {
    damaged(path, std::to_string(bytes.size()) + " bytes of delete marks for " +
                      std::to_string(rows_) + " rows");
  }
  if (xxh64(bytes) != manifest_.deleted_checksum) damaged(path, "its check sum is wrong");
  for (std::int64_t row = 0; row < std::min(rows_, std::int64_t(bytes.size()) * 8); ++row) {
    if (std::to_integer<int>(bytes[std::size_t(row / 8)]) >> (row % 8) & 1) live_.set(row, false);
  }
  if (rows_ - live_.count() != manifest_.deleted) damaged(path, "its marks aren't those counted");
}

void Index::check() const {
  std::int64_t row = 0;
  for (const IndexSegment& segment : manifest_.segments) {
    const auto part = [&](const MappedRows& rows, std::size_t size) {
      return rows.bytes().subspan(std::size_t(row) * size, std::size_t(segment.rows) * size);
    };
    const std::string place =
        "rows " + std::to_string(row) + " to " + std::to_string(row + segment.rows - 1);
    if (xxh64(part(codes_, row_bytes(bits()))) != segment.codes) {
      damaged(folder_ / manifest_.codes_name(), "the check sum of " + place + " is wrong");
    }
    if (xxh64(part(ids_, sizeof(std::int64_t))) != segment.ids) {
      damaged(folder_ / manifest_.ids_name(), "the check sum of " + place + " is wrong");
    }
    row += segment.rows;
  }
}

Index Index::open(const std::filesystem::path& folder) {
  constexpr int kAttempts = 100;
  for (int attempt = 1;; ++attempt) {
    const IndexManifest manifest = read_index_manifest(folder);
    try {
      Index index(folder, manifest, nullptr);
      index.check();
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

std::optional<std::int64_t> Index::row_of(std::int64_t id) const {
  const auto all = ids();
  for (auto at = all.begin(); (at = std::find(at, all.end(), id)) != all.end(); ++at) {
    if (is_live(at - all.begin())) return at - all.begin();
  }
  return std::nullopt;
}

IndexItem Index::item(std::int64_t row) const {
  return {row, ids()[std::size_t(row)],
          row <= manifest_.last_described ? items_->get(row) : Description{}};
}

std::string Index::class_name(int c) const {
  return std::size_t(c) < manifest_.class_names.size() ? manifest_.class_names[std::size_t(c)]
                                                       : std::to_string(c);
}

RowMask Index::passing(const std::string& text) const {
  const IndexFilter filter = IndexFilter::parse(text);
  RowMask mask(rows_, false);
  if (filter.field == "id") {
    char* end = nullptr;
    const std::int64_t value = std::strtoll(filter.value.c_str(), &end, 10);
    HH_REQUIRE(!filter.value.empty() && *end == '\0', "filter '" << text << "': not a number");
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
    for (std::size_t at = 0; at <= filter.value.size();) {
      const std::size_t comma = std::min(filter.value.find(',', at), filter.value.size());
      classes.push_back(class_of(filter.value.substr(at, comma - at)));
      at = comma + 1;
    }
    rows = items_->rows_with_class(classes, rows_);
  } else if (filter.field == "path") {
    rows = items_->rows_with_path(filter.value, filter.op == "~", rows_);
  } else {
    rows = items_->rows_with_metadata(filter.field, negated ? "=" : filter.op, filter.value, rows_);
  }
  for (const std::int64_t row : rows) mask.set(row, true);
  return negated ? RowMask(rows_, true) -= mask : mask;
}

int Index::class_of(const std::string& name) const {
  const auto& names = manifest_.class_names;
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return int(found - names.begin());
  const bool digits = !name.empty() && name.size() <= 6 &&
                      name.find_first_not_of("0123456789") == std::string::npos;
  const int c = digits ? std::stoi(name) : -1;
  std::string known;
  for (std::size_t i = 0; i < std::min<std::size_t>(names.size(), 20); ++i) {
    known += (i > 0 ? ", " : "") + names[i];
  }
  HH_REQUIRE(c >= 0 && c < manifest_.classes, "label '" << name << "': the index has "
                                                        << manifest_.classes << " classes"
                                                        << (known.empty() ? "" : ": " + known));
  return c;
}

RowMask Index::select(const std::vector<std::string>& filters) const {
  RowMask mask = live_;
  for (const std::string& filter : filters) mask &= passing(filter);
  return mask;
}

ItemSet Index::contents() const {
  ItemSet items;
  CodeSet& set = items.set;
  set.codes = PackedCodes(0, bits());
  set.classes = manifest_.classes;
  set.class_names = manifest_.class_names;
  set.model_hash = manifest_.model_hash;
  set.source = manifest_.source;
  const bool described = manifest_.last_described >= 0;
  const auto words = std::size_t(set.classes + 63) / 64;
  bool any_path = false, any_metadata = false;
  for (std::int64_t row = 0; row < rows_; ++row) {
    if (!is_live(row)) continue;
    set.codes.append(codes().slice(row, row + 1));
    set.ids.push_back(ids()[std::size_t(row)]);
    set.labels.resize(set.labels.size() + words);
    if (!described) continue;
    const Description d = item(row).description;
    for (const int c : d.labels) {
      if (c < 0 || c >= set.classes) {
        damaged(folder_ / manifest_.items_name(), "there is a label " + std::to_string(c));
      }
      set.labels[set.labels.size() - words + std::size_t(c / 64)] |= std::uint64_t{1} << (c % 64);
    }
    any_path = any_path || !d.path.empty();
    any_metadata = any_metadata || !d.metadata.empty();
    set.names.push_back(d.path);
    items.metadata.push_back(d.metadata);
  }
  if (!any_path) set.names.clear();
  if (!any_metadata) items.metadata.clear();
  return items;
}

void Index::check_belongs(int width, const std::string& model_hash) const {
  HH_REQUIRE(width == bits(), "codes of " << width << " bits for an index of " << bits()
                                          << " bits; encode both with the same model");
  HH_REQUIRE(
      model_hash.empty() || manifest_.model_hash.empty() || model_hash == manifest_.model_hash,
      "codes of the model " << model_hash << " for an index of the model " << manifest_.model_hash
                            << "; encode both with one model");
}

}  // namespace hh::retrieval

// SPDX-License-Identifier: Apache-2.0
#include "retrieval/engines/postgres/rows.h"

#include <limits>
#include <optional>
#include <span>
#include <stdexcept>
#include <vector>

#include "engine/text/utf8.h"
#include "retrieval/engines/postgres/connection.h"

namespace hh::retrieval::postgres {
namespace {

using Value = std::optional<std::string_view>;

constexpr std::string_view kSignature("PGCOPY\n\377\r\n\0", 11);
constexpr std::size_t kHeadBytes = 19;
constexpr int kColumnCount = 6;
constexpr std::uint32_t kNull = 0xffffffff;
constexpr std::uint32_t kInt4 = 23;

std::uint64_t number(std::string_view bytes, std::size_t at, int width) {
  std::uint64_t value = 0;
  for (int i = 0; i < width; ++i) {
    value = value << 8 | static_cast<unsigned char>(bytes[at + std::size_t(i)]);
  }
  return value;
}

void append_value(std::string& bytes, std::string_view value) {
  append_number(bytes, value.size(), 4);
  bytes += value;
}

void append_null(std::string& bytes) { append_number(bytes, kNull, 4); }

void append_labels_value(std::string& bytes, const LabelsView& labels, std::int64_t i) {
  const std::size_t start = bytes.size();
  append_number(bytes, 0, 4);  // the length, when it is known
  append_number(bytes, 0, 4);  // dimensions
  append_number(bytes, 0, 4);
  append_number(bytes, kInt4, 4);
  if (labels.classes > 0) {
    std::uint64_t count = 0;
    labels.for_each_class(i, [&](int c) {
      if (count++ == 0) {
        append_number(bytes, 0, 4);  // how many
        append_number(bytes, 1, 4);  // the first is number 1
      }
      append_number(bytes, 4, 4);
      append_number(bytes, std::uint64_t(c), 4);
    });
    const auto put = [&](std::size_t at, std::uint64_t value) {
      std::string four;
      append_number(four, value, 4);
      bytes.replace(at, 4, four);
    };
    if (count > 0) {
      put(start + 4, 1);
      put(start + 16, count);
    }
    put(start, bytes.size() - start - 4);
  } else {
    bytes[start + 3] = 12;
  }
}

}  // namespace

std::string copy_head() {
  std::string bytes(kSignature);
  append_number(bytes, 0, 4);  // flags
  append_number(bytes, 0, 4);  // no more of a head
  return bytes;
}

std::string copy_end() { return "\xff\xff"; }

void append_row(std::string& bytes, const ItemSet& items, std::int64_t i) {
  const CodeSet& set = items.set;
  const auto at = std::size_t(i);
  append_number(bytes, kColumnCount, 2);
  append_number(bytes, 8, 4);
  append_number(bytes, std::uint64_t(set.ids[at]), 8);
  append_number(bytes, 4 + std::uint64_t(set.codes.view().row_bytes()), 4);
  append_bits(bytes, set.codes, i);
  append_labels_value(bytes, set.label_view(), i);
  const std::string_view path = set.names.empty() ? std::string_view() : set.names[at];
  const bool text = is_utf8(path) && path.find('\0') == std::string_view::npos;
  if (path.empty() || !text) {
    append_null(bytes);
  } else {
    append_value(bytes, path);
  }
  if (text) {
    append_null(bytes);
  } else {
    append_value(bytes, path);
  }
  if (items.metadata.empty() || items.metadata[at].empty()) {
    append_null(bytes);
  } else {
    append_value(bytes, items.metadata[at]);
  }
}

RowReader::RowReader(const CollectionAbout& about, std::string name, bool ids_only)
    : about_(about), name_(std::move(name)), ids_only_(ids_only) {}

void RowReader::fail(const std::string& what) const {
  throw std::runtime_error(name_ + ": " + what +
                           "; mend the row by SQL, or push the index anew with --full");
}

CollectionItem RowReader::item(std::span<const Value> values) const {
  CollectionItem item;
  if (!values[0] || values[0]->size() != 8) fail("a row without an id");
  item.id = std::int64_t(number(*values[0], 0, 8));
  const std::string which = "item " + std::to_string(item.id) + ": ";
  if (item.id < 0 || item.id == std::numeric_limits<std::int64_t>::max()) {
    fail(which + "ids are from 0 to " +
         std::to_string(std::numeric_limits<std::int64_t>::max() - 1));
  }
  if (ids_only_) return item;
  const auto code_bytes = std::size_t(about_.bits + 7) / 8;
  if (!values[1] || values[1]->size() != 4 + code_bytes ||
      number(*values[1], 0, 4) != std::uint64_t(about_.bits)) {
    fail(which + "its code isn't one of " + std::to_string(about_.bits) + " bits");
  }
  item.code = PackedCodes(1, about_.bits);
  for (int j = 0; j < about_.bits; ++j) {
    const auto byte = static_cast<unsigned char>((*values[1])[4 + std::size_t(j) / 8]);
    if (byte >> (7 - j % 8) & 1) item.code.set(0, j, true);
  }
  const auto labels = values[2].value_or(std::string_view());
  if (labels.size() < 12 || number(labels, 0, 4) > 1) fail(which + "its labels aren't a list");
  if (number(labels, 0, 4) == 1) {
    const std::uint64_t count = labels.size() >= 20 ? number(labels, 12, 4) : 0;
    if (labels.size() != 20 + count * 8) fail(which + "its labels aren't a list of numbers");
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t c = number(labels, 20 + i * 8 + 4, 4);
      if (number(labels, 20 + i * 8, 4) != 4 || c >= std::uint64_t(about_.classes) ||
          (i > 0 && item.description.labels.back() >= int(c))) {
        fail(which + "its labels aren't ascending numbers below " + std::to_string(about_.classes));
      }
      item.description.labels.push_back(int(c));
    }
  }
  item.description.path = values[4] ? *values[4] : values[3].value_or(std::string_view());
  item.description.metadata = values[5].value_or(std::string_view());
  return item;
}

bool RowReader::next(std::string_view& bytes, const std::function<void(CollectionItem&&)>& row) {
  if (bytes.size() < 2) return false;
  const std::uint64_t count = number(bytes, 0, 2);
  if (count == 0xffff) {
    bytes.remove_prefix(2);
    ended_ = true;
    return true;
  }
  const std::uint64_t columns = ids_only_ ? 1 : kColumnCount;
  if (count != columns) fail("rows of " + std::to_string(count) + " columns");
  std::size_t at = 2;
  std::vector<Value> values(columns);
  for (Value& value : values) {
    if (bytes.size() - at < 4) return false;
    const std::uint64_t size = number(bytes, at, 4);
    at += 4;
    if (size == kNull) continue;
    if (size > bytes.size() - at) return false;
    value = bytes.substr(at, size);
    at += size;
  }
  row(item(values));
  bytes.remove_prefix(at);
  return true;
}

void RowReader::read(std::string_view bytes, const std::function<void(CollectionItem&&)>& row) {
  std::string joined;
  if (!rest_.empty()) {
    joined = std::move(rest_) + std::string(bytes);
    bytes = joined;
    rest_.clear();
  }
  if (!head_ && bytes.size() >= kHeadBytes) {
    const std::uint64_t more = number(bytes, 15, 4);
    if (bytes.substr(0, kSignature.size()) != kSignature || number(bytes, 11, 4) != 0 ||
        more > bytes.size() - kHeadBytes) {
      fail("the server sends another form of rows than was asked for");
    }
    bytes.remove_prefix(kHeadBytes + more);
    head_ = true;
  }
  while (head_ && !ended_ && next(bytes, row)) {
  }
  rest_ = bytes;
}

void RowReader::check_end() const {
  if (!ended_) fail("the rows end early");
  if (!rest_.empty()) fail("rows come behind the last");
}

void append_item(ItemSet& items, CollectionItem&& item) {
  items.set.ids.push_back(item.id);
  items.set.codes.append(item.code);
  append_labels(items.set.labels, items.set.classes, item.description.labels);
  items.set.names.push_back(std::move(item.description.path));
  items.metadata.push_back(std::move(item.description.metadata));
}

}  // namespace hh::retrieval::postgres

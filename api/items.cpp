// SPDX-License-Identifier: Apache-2.0
#include "api/items.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "api/boundary.h"
#include "kernels/core/label_bits.h"
#include "retrieval/files/item_files.h"

namespace {

using namespace hh::api;
using hh::retrieval::ItemSet;

std::vector<const char*> pointers(const std::vector<std::string>& texts) {
  std::vector<const char*> out(texts.size());
  std::transform(texts.begin(), texts.end(), out.begin(), [](const auto& t) { return t.c_str(); });
  return out;
}

std::vector<std::string> texts_or_none(const char* const* from, std::int64_t count,
                                       const char* name) {
  return from == nullptr ? std::vector<std::string>() : texts(from, count, name);
}

template <class T>
const T* data_or_null(const std::vector<T>& values) {
  return values.empty() ? nullptr : values.data();
}

}  // namespace

hh_codes::hh_codes(ItemSet items_in)
    : items(std::move(items_in)),
      bytes(items.set.codes.to_bytes()),
      names(pointers(items.set.names)),
      metadata(pointers(items.metadata)),
      class_names(pointers(items.set.class_names)) {}

namespace hh::api {

retrieval::PackedCodes packed(const std::uint8_t* bytes, std::int64_t count, int bits) {
  retrieval::check_bits(bits);
  HH_REQUIRE(count >= 0 && count <= (std::int64_t{1} << 40), "count = " << count);
  HH_REQUIRE(count == 0 || bytes != nullptr, "codes is NULL");
  return retrieval::PackedCodes::from_bytes(
      {bytes, std::size_t(count) * std::size_t((bits + 7) / 8)}, count, bits);
}

ItemSet items_of(const hh_codes_data& data) {
  ItemSet items;
  retrieval::CodeSet& set = items.set;
  set.codes = packed(data.codes, data.count, data.bits);
  const auto n = std::size_t(data.count);
  HH_REQUIRE(data.classes >= 0 && data.classes <= retrieval::kMaxClasses,
             "classes = " << data.classes << ": use 0 to " << retrieval::kMaxClasses);
  set.ids.resize(n);
  if (data.ids == nullptr) {
    std::iota(set.ids.begin(), set.ids.end(), std::int64_t{0});
  } else {
    std::copy_n(data.ids, n, set.ids.begin());
  }
  set.classes = data.classes;
  if (data.classes > 0) {
    HH_REQUIRE(n == 0 || data.labels != nullptr, "classes = " << data.classes << ", but no labels");
    const std::size_t words = n * std::size_t(label_words(data.classes));
    set.labels.assign(data.labels, data.labels + words);
  }
  set.class_names = texts_or_none(data.class_names, data.classes, "class_names");
  set.names = texts_or_none(data.names, data.count, "names");
  items.metadata = texts_or_none(data.metadata, data.count, "metadata");
  if (data.outputs != nullptr) {
    set.outputs.assign(data.outputs, data.outputs + n * std::size_t(data.bits));
  }
  set.model_hash = text_or_empty(data.model_hash);
  items.validate();
  return items;
}

}  // namespace hh::api

hh_status hh_codes_create(const hh_codes_data* data, hh_codes** codes) {
  return guarded([&] {
    hh_codes*& out = needed(codes, "codes");
    needed(data, "data");
    out = new hh_codes(items_of(options_or(data, hh_codes_data HH_CODES_DATA_INIT, "data")));
  });
}

hh_status hh_codes_read(const char* path, int bits, hh_codes** codes) {
  return guarded([&] {
    hh_codes*& out = needed(codes, "codes");
    const char* const file = &needed(path, "path");
    if (bits != 0) hh::retrieval::check_bits(bits);
    hh::retrieval::ItemSet items = hh::retrieval::read_items(file, {.bits = bits});
    HH_REQUIRE(bits == 0 || items.set.codes.bits() == bits,
               "bits = " << bits << ": the codes of " << file << " have " << items.set.codes.bits()
                         << "; give 0 to take them all");
    out = new hh_codes(std::move(items));
  });
}

hh_status hh_codes_write(const hh_codes* codes, const char* path) {
  return guarded([&] {
    const char* const to = &needed(path, "path");
    hh::retrieval::write_items(to, needed(codes, "codes").items,
                               hh::retrieval::item_format("", to));
  });
}

void hh_codes_close(hh_codes* codes) { delete codes; }

hh_status hh_codes_view(const hh_codes* codes, hh_codes_data* data) {
  return guarded([&] {
    const hh_codes& from = needed(codes, "codes");
    const hh::retrieval::CodeSet& set = from.items.set;
    give(data,
         {.size = sizeof(hh_codes_data),
          .bits = set.codes.bits(),
          .count = set.count(),
          .codes = data_or_null(from.bytes),
          .ids = data_or_null(set.ids),
          .classes = set.classes,
          .labels = data_or_null(set.labels),
          .class_names = data_or_null(from.class_names),
          .names = data_or_null(from.names),
          .metadata = data_or_null(from.metadata),
          .outputs = data_or_null(set.outputs),
          .model_hash = set.model_hash.c_str()},
         "data");
  });
}

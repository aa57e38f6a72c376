// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "engine/files/file_error.h"
#include "kernels/core/check.h"
#include "retrieval/engines/milvus/item_json.h"
#include "retrieval/engines/milvus/milvus_collection.h"

namespace hh::retrieval {
namespace {

using Stub = MilvusConnection::Stub;
constexpr int kWriteSeconds = 120;
constexpr std::size_t kMaxRequest = 16 << 20;  // bytes of items; a server takes 64 MB
constexpr std::int64_t kIdsOfDelete = 16'384;

Description description_of(const ItemSet& items, std::int64_t i) {
  Description d;
  if (!items.set.names.empty()) d.path = items.set.names[std::size_t(i)];
  if (!items.metadata.empty()) d.metadata = items.metadata[std::size_t(i)];
  if (items.set.classes > 0) {
    items.set.label_view().for_each_class(i, [&](int c) { d.labels.push_back(c); });
  }
  return d;
}

std::string json_of(const ItemSet& items, std::int64_t i) {
  std::string text = item_json(description_of(items, i));
  HH_REQUIRE(text.size() <= kMaxItemJson, "item " << items.set.ids[std::size_t(i)]
                                                  << ": its labels, path and metadata have "
                                                  << text.size() << " bytes, and Milvus takes "
                                                  << kMaxItemJson << ": shorten its metadata");
  return text;
}

bool any_zeros(const ItemSet& items) {
  const auto in_metadata = [](const std::string& text) {
    return text.find("\\u0000") != std::string::npos;
  };
  const auto in_name = [](const std::string& name) { return name.find('\0') != std::string::npos; };
  return std::any_of(items.metadata.begin(), items.metadata.end(), in_metadata) ||
         std::any_of(items.set.names.begin(), items.set.names.end(), in_name);
}

milvus::FieldData* add_field(milvus::InsertRequest& request, const char* name, int type) {
  auto* const field = request.add_fields_data();
  field->set_field_name(name);
  field->set_type(type);
  return field;
}

}  // namespace

void MilvusCollection::wrote(std::uint64_t timestamp) {
  written_ = std::max(written_, timestamp);
  read_at_ = std::chrono::steady_clock::now();
}

void MilvusCollection::send(const ItemSet& items, bool all_new) {
  const CodesView codes = items.set.codes;
  for (std::int64_t first = 0; first < codes.count;) {
    milvus::InsertRequest request;
    request.set_collection_name(collection_);
    auto* const ids = add_field(request, kIdField, kInt64)->mutable_scalars()->mutable_long_data();
    auto* const vectors = add_field(request, kCodeField, kBinaryVector)->mutable_vectors();
    vectors->set_dim(codes.row_bytes() * 8);
    auto* const texts =
        add_field(request, kItemField, kJson)->mutable_scalars()->mutable_json_data();
    std::size_t bytes = 0;
    std::int64_t row = first;
    for (; row < codes.count && bytes < kMaxRequest; ++row) {
      ids->add_data(items.set.ids[std::size_t(row)]);
      vectors->mutable_binary_vector()->append(reinterpret_cast<const char*>(codes.row(row).data()),
                                               std::size_t(codes.row_bytes()));
      texts->add_data(json_of(items, row));
      bytes += texts->data(int(row - first)).size() + std::size_t(codes.row_bytes()) +
               sizeof(std::int64_t);
    }
    request.set_num_rows(std::uint32_t(row - first));
    const auto method = all_new ? &Stub::Insert : &Stub::Upsert;
    wrote(connection_.call(method, request, kWriteSeconds).timestamp());
    first = row;
  }
}

void MilvusCollection::put(const ItemSet& items, const CollectionAbout& after) {
  items.validate();
  about_.reset();  // as others have left it
  const CollectionAbout before = known_about();
  HH_REQUIRE(items.set.codes.count() == 0 || items.set.codes.bits() == before.bits,
             "codes of " << items.set.codes.bits() << " bits, but the collection's have "
                         << before.bits << ": push them to a collection of their own");
  if (!items.set.ids.empty()) {
    // An item that can't be there already need not be looked for, which takes half of the time. That such items
    // are on their way is written first, of some pieces to come too: whoever goes on after this program was
    // killed takes no chances.
    const auto [least, most] = std::minmax_element(items.set.ids.begin(), items.set.ids.end());
    const bool zeros = !has_zeros_ && any_zeros(items);
    has_zeros_ = has_zeros_ || zeros;
    if (*most >= unsent_ || zeros) {
      constexpr std::int64_t kAhead = 16 * kPiece;
      if (*most >= unsent_) unsent_ = std::min(*most, INT64_MAX - kAhead) + kAhead;
      store(before);
      about();  // another program may have said the same just now
    }
    const bool all_new = *least >= fresh_ && *most < INT64_MAX;
    fresh_ = std::max(fresh_, std::min(*most, INT64_MAX - 1) + 1);
    send(items, all_new);
  }
  store(after);
}

std::int64_t MilvusCollection::remove(std::span<const std::int64_t> ids,
                                      const CollectionAbout& after) {
  about_.reset();
  known_about();
  std::int64_t found = 0;
  const std::int64_t n = std::int64_t(ids.size());
  const auto condition = [&](std::int64_t first) {
    return ids_condition(
        ids.subspan(std::size_t(first), std::size_t(std::min(kIdsOfDelete, n - first))));
  };
  // All are counted first: a read behind a write waits for it.
  for (std::int64_t i = 0; i < n; i += kIdsOfDelete) found += count_of(condition(i));
  for (std::int64_t i = 0; i < n; i += kIdsOfDelete) {
    milvus::DeleteRequest request;
    request.set_collection_name(collection_);
    request.set_expr(condition(i));
    wrote(connection_.call(&Stub::Delete, request, kWriteSeconds).timestamp());
  }
  if (found > 0) wait_for_deletes();
  store(after);
  return found;
}

}  // namespace hh::retrieval

// SPDX-License-Identifier: Apache-2.0
#include "retrieval/engines/milvus/milvus_collection.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <random>
#include <thread>

#include "engine/files/file_error.h"
#include "kernels/core/check.h"
#include "retrieval/engines/interface_identity.h"

namespace hh::retrieval {
namespace {

using Stub = MilvusConnection::Stub;
constexpr int kSeconds = 60;               // of a call
constexpr int kFlushSeconds = 300;         // until what was written is in its files
constexpr int kLoadSeconds = 600;          // until the collection is in memory
constexpr int kSegmentSeconds = 60;        // until searches use the index
constexpr int kBounded = 2;                // consistency, of other programs' reads
constexpr int kLoaded = 3;                 // a state of loading
constexpr int kFinished = 3, kFailed = 4;  // states of an index
constexpr int kGrowing = 2;                // a state of a segment
constexpr const char *kAbout = "hybridhash.about", *kWritten = "hybridhash.written",
                     *kUnsent = "hybridhash.unsent", *kSender = "hybridhash.sender",
                     *kZeros = "hybridhash.zeros";
// One that is larger than etcd takes (1.5 MB, twice the collection) can neither be changed nor dropped again.
constexpr std::size_t kMaxAbout = 400'000;

template <class List>
void add(List* list, const char* key, const std::string& value) {
  auto* const pair = list->Add();
  pair->set_key(key);
  pair->set_value(value);
}

std::string dimension(int bits) { return std::to_string((bits + 7) / 8 * 8); }

template <class T>
bool number_of(const std::string& text, T& value) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && stop == text.data() + text.size();
}

/// Asks until the answer is yes. Throws TryAgain after so many seconds.
template <class F>
void wait_until(F&& done, int seconds, const std::string& what) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  for (auto pause = std::chrono::milliseconds(10); !done();
       pause = std::min(pause * 2, std::chrono::milliseconds(500))) {
    if (std::chrono::steady_clock::now() > end) {
      throw TryAgain(what + " takes longer than " + std::to_string(seconds) +
                     " s; try again later");
    }
    std::this_thread::sleep_for(pause);
  }
}

/// What a collection says of itself, as Milvus can keep it.
std::string kept_text(const CollectionAbout& about) {
  std::string text = about.to_json();
  HH_REQUIRE(text.size() <= kMaxAbout, "class names of " << text.size() << " bytes: Milvus keeps "
                                                         << kMaxAbout << "; use shorter ones");
  return text;
}

}  // namespace

MilvusCollection::MilvusCollection(const CollectionPlace& place)
    : collection_(place.collection),
      connection_(place.url),
      sender_(std::to_string(std::random_device()()) + "-" + std::to_string(getpid())) {
  server();  // or it isn't there
}

std::string MilvusCollection::server() {
  milvus::GetVersionRequest request;
  constexpr int kConnectSeconds = 10;
  const auto answer = connection_.call(&Stub::GetVersion, request, kConnectSeconds);
  return "Milvus " + answer.version().substr(0, 40);
}

std::optional<CollectionAbout> MilvusCollection::about() {
  milvus::DescribeCollectionRequest request;
  request.set_collection_name(collection_);
  try {
    about_ = read_properties(connection_.call(&Stub::DescribeCollection, request, kSeconds));
  } catch (const MilvusNotFound&) {
    about_.reset();
  }
  return about_;
}

CollectionAbout MilvusCollection::read_properties(
    const milvus::DescribeCollectionResponse& described) {
  const std::string* text = nullptr;
  std::uint64_t written = 0;
  std::int64_t unsent = 0;
  bool right = true, ours = false, zeros = false;
  for (const milvus::KeyValue& property : described.properties()) {
    if (property.key() == kAbout) text = &property.value();
    if (property.key() == kWritten) right = right && number_of(property.value(), written);
    if (property.key() == kUnsent) right = right && number_of(property.value(), unsent);
    if (property.key() == kZeros) zeros = property.value() != "0";
    if (property.key() == kSender) ours = property.value() == sender_;
  }
  const std::string name = connection_.name() + ": collection " + collection_;
  if (text == nullptr || !right) {
    throw std::runtime_error(name + " is none of HybridHash's; use another name");
  }
  const CollectionAbout about = CollectionAbout::parse(*text, name);
  check_schema(described.schema(), about.bits);
  if (!ours) fresh_ = unsent;
  has_zeros_ = zeros;
  unsent_ = unsent;
  if (written > written_) {
    written_ = written;
    read_at_ = std::chrono::steady_clock::now();
  }
  return about;
}

void MilvusCollection::check_schema(const milvus::Schema& schema, int bits) const {
  int found = 0;
  for (const milvus::Field& field : schema.fields()) {
    const bool id = field.name() == kIdField && field.data_type() == kInt64 &&
                    field.is_primary_key() && !field.auto_id();
    const bool item = field.name() == kItemField && field.data_type() == kJson;
    bool code = field.name() == kCodeField && field.data_type() == kBinaryVector;
    for (const milvus::KeyValue& parameter : field.type_params()) {
      code = code && (parameter.key() != "dim" || parameter.value() == dimension(bits));
    }
    found += id || item || code;
  }
  if (found != 3 || schema.fields_size() != 3) {
    connection_.fail("collection " + collection_ +
                     " has other fields than those of this program; use another name");
  }
}

const CollectionAbout& MilvusCollection::known_about() {
  if (!about_ && !about()) {
    throw std::invalid_argument(connection_.name() + " has no collection " + collection_ +
                                "; push an index to it first: hybridhash index push");
  }
  return *about_;
}

void MilvusCollection::create(const CollectionAbout& about) {
  const std::string text = kept_text(about);
  milvus::Schema schema;
  schema.set_name(collection_);
  schema.set_description("HybridHash");
  auto* field = schema.add_fields();
  field->set_name(kIdField);
  field->set_data_type(kInt64);
  field->set_is_primary_key(true);
  field = schema.add_fields();
  field->set_name(kCodeField);
  field->set_data_type(kBinaryVector);
  add(field->mutable_type_params(), "dim", dimension(about.bits));
  field = schema.add_fields();
  field->set_name(kItemField);
  field->set_data_type(kJson);

  milvus::CreateCollectionRequest request;
  request.set_collection_name(collection_);
  request.set_schema(schema.SerializeAsString());
  request.set_shards_num(1);
  request.set_consistency_level(kBounded);
  add(request.mutable_properties(), kAbout, text);
  add(request.mutable_properties(), kUnsent, "0");
  add(request.mutable_properties(), kSender, sender_);
  connection_.call(&Stub::CreateCollection, request, kSeconds);
  about_ = about;
  unsent_ = fresh_ = 0;
  has_zeros_ = false;
  index_made_ = false;
  make_index();
}

void MilvusCollection::drop() {
  milvus::DescribeCollectionRequest describe;
  describe.set_collection_name(collection_);
  const auto described = connection_.call(&Stub::DescribeCollection, describe, kSeconds);
  const auto& properties = described.properties();
  HH_REQUIRE(
      std::any_of(properties.begin(), properties.end(),
                  [](const milvus::KeyValue& p) { return p.key() == kAbout; }),
      connection_.name() << ": collection " << collection_
                         << " is none of HybridHash's, so it isn't removed; use another name");
  milvus::DropCollectionRequest request;
  request.set_collection_name(collection_);
  connection_.call(&Stub::DropCollection, request, kSeconds);
  about_.reset();
  members_.clear();
}

void MilvusCollection::store(const CollectionAbout& about) {
  const std::string text = kept_text(about);
  milvus::AlterCollectionRequest request;
  request.set_collection_name(collection_);
  add(request.mutable_properties(), kAbout, text);
  add(request.mutable_properties(), kWritten, std::to_string(written_));
  add(request.mutable_properties(), kUnsent, std::to_string(unsent_));
  add(request.mutable_properties(), kSender, sender_);
  add(request.mutable_properties(), kZeros, has_zeros_ ? "1" : "0");
  // Twice: 2.3.5 has the new properties in memory, and writes those it had before to its disk, so that a
  // server that is killed would forget the last change.
  for (int i = 0; i < 2; ++i) connection_.call(&Stub::AlterCollection, request, kSeconds);
  about_ = about;
}

void MilvusCollection::make_index() {
  if (index_made_) return;
  milvus::CreateIndexRequest request;
  request.set_collection_name(collection_);
  request.set_field_name(kCodeField);
  add(request.mutable_extra_params(), "index_type", "BIN_FLAT");
  add(request.mutable_extra_params(), "metric_type", "HAMMING");
  add(request.mutable_extra_params(), "params", "{}");
  connection_.call(&Stub::CreateIndex, request, kSeconds);
  index_made_ = true;
}

void MilvusCollection::load() {
  milvus::GetLoadStateRequest state;
  state.set_collection_name(collection_);
  if (connection_.call(&Stub::GetLoadState, state, kSeconds).state() == kLoaded) return;
  make_index();  // there is none where its maker was killed
  milvus::LoadCollectionRequest request;
  request.set_collection_name(collection_);
  request.set_replica_number(1);
  connection_.call(&Stub::LoadCollection, request, kSeconds);
  wait_until(
      [&] { return connection_.call(&Stub::GetLoadState, state, kSeconds).state() == kLoaded; },
      kLoadSeconds, connection_.name() + ": loading collection " + collection_);
}

void MilvusCollection::settle(const CollectionAbout& after) {
  wait_for_flush();
  make_index();
  wait_for_index();
  load();
  wait_for_segments();
  store(after);
}

void MilvusCollection::wait_for_flush() {
  milvus::FlushRequest request;
  request.add_collection_names(collection_);
  const auto flush = connection_.call(&Stub::Flush, request, kFlushSeconds);
  milvus::GetFlushStateRequest state;
  state.set_collection_name(collection_);
  if (const auto found = flush.segments().find(collection_); found != flush.segments().end()) {
    *state.mutable_segments() = found->second.data();
  }
  const auto until = flush.flushed_until().find(collection_);
  if (until != flush.flushed_until().end()) state.set_flushed_until(until->second);
  wait_until([&] { return connection_.call(&Stub::GetFlushState, state, kSeconds).flushed(); },
             kFlushSeconds, connection_.name() + ": writing collection " + collection_);
}

void MilvusCollection::wait_for_index() {
  milvus::DescribeIndexRequest request;
  request.set_collection_name(collection_);
  request.set_field_name(kCodeField);
  const auto made = [&] {
    const auto answer = connection_.call(&Stub::DescribeIndex, request, kSeconds);
    bool all = true;
    for (const milvus::IndexDescription& index : answer.index_descriptions()) {
      if (index.state() == kFailed) connection_.fail("the index can't be made");
      all = all && index.state() == kFinished && index.pending_index_rows() == 0;
    }
    return all;
  };
  wait_until(made, kLoadSeconds, connection_.name() + ": the index of " + collection_);
}

void MilvusCollection::wait_for_segments() {
  milvus::QuerySegmentInfoRequest request;
  request.set_collection_name(collection_);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(kSegmentSeconds);
  // Others may write meanwhile: then there is always one that grows, and nothing is wrong.
  while (std::chrono::steady_clock::now() < end) {
    const auto answer = connection_.call(&Stub::GetQuerySegmentInfo, request, kSeconds);
    const auto grows = [](const milvus::QuerySegmentInfo& segment) {
      return segment.state() == kGrowing && segment.num_rows() > 0;
    };
    if (std::none_of(answer.infos().begin(), answer.infos().end(), grows)) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

}  // namespace hh::retrieval

extern "C" {

__attribute__((visibility("default"))) hh::retrieval::Collection* hh_open_collection(
    const hh::retrieval::CollectionPlace& place, const std::function<bool()>& /*stopped*/) {
  return new hh::retrieval::MilvusCollection(place);
}

__attribute__((visibility("default"))) std::uint64_t hh_collection_build_identity() {
  return hh::retrieval::kCollectionInterfaceIdentity;
}
}

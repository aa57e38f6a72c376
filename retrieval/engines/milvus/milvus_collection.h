// SPDX-License-Identifier: Apache-2.0
// A collection of a Milvus server, 2.3.5 being what is tested: fields id (its key), code (a binary vector,
// filled up with zero bits to whole bytes) and item (item_json.h), an exact index BIN_FLAT by Hamming
// distance. What the collection says of itself is a property of it, which, unlike its description, can be changed.
//
// Reads see all that was written by this connection, and all that had been written by others when this
// connection last read about(), or 5 seconds before the read. They aren't asked for "strong" consistency: for
// that the server waits each time until its next time tick, some 200 ms.
#pragma once
#include <chrono>
#include <functional>
#include <initializer_list>
#include <memory>
#include <set>
#include <string>

#include "retrieval/engines/milvus/connection.h"
#include "retrieval/engines/milvus/expression.h"
#include "retrieval/engines/open_collection.h"

namespace hh::retrieval {

/// Types of fields, by Milvus' numbers.
inline constexpr int kInt64 = 5, kJson = 23, kBinaryVector = 100;

class MilvusCollection final : public Collection {
 public:
  explicit MilvusCollection(const CollectionPlace& place);

  std::string server() override;
  std::optional<CollectionAbout> about() override;
  void create(const CollectionAbout& about) override;
  void drop() override;

  void lock(double) override {}
  void unlock() override {}

  void put(const ItemSet& items, const CollectionAbout& after) override;
  std::int64_t remove(std::span<const std::int64_t> ids, const CollectionAbout& after) override;
  void settle(const CollectionAbout& after) override;

  std::int64_t count(std::span<const CollectionFilter> filters) override;
  std::vector<std::vector<CollectionHit>> search(CodesView queries,
                                                 const CollectionRequest& request) override;
  std::int64_t max_k() const override;

  std::vector<CollectionItem> items(std::span<const std::int64_t> ids) override;
  std::vector<CollectionItem> list(std::int64_t after, std::int64_t limit,
                                   std::span<const CollectionFilter> filters) override;
  void pull(const std::function<void(const ItemSet&)>& piece) override;
  void pull_ids(const std::function<void(std::span<const std::int64_t>)>& piece) override;

 private:
  enum class Fields { kIds, kItems, kAll };  // ids; items too; codes too
  /// Rows of an answer; what wasn't asked for is empty.
  struct Rows {
    std::vector<std::int64_t> ids;
    PackedCodes codes;
    std::vector<Description> descriptions;
  };
  // milvus_collection.cpp: the collection itself.
  const CollectionAbout& known_about();
  CollectionAbout read_properties(const milvus::DescribeCollectionResponse& described);
  void check_schema(const milvus::Schema& schema, int bits) const;
  /// With the time of the last write, and the id from which on none has ever been sent.
  void store(const CollectionAbout& about);
  void make_index();
  /// Into the server's memory, which searches and queries need.
  void load();
  void wait_for_flush();
  void wait_for_index();
  void wait_for_segments();

  // milvus_writes.cpp
  void send(const ItemSet& items, bool all_new);
  void wrote(std::uint64_t timestamp);

  // milvus_reads.cpp
  /// Of a search or a query.
  template <class Request>
  void say_how_fresh(Request& request) const;
  /// Calls f, once more when the server must load the collection first.
  template <class F>
  auto loaded(F&& f);
  milvus::QueryResults query(const std::string& condition,
                             std::initializer_list<const char*> outputs, std::int64_t limit);
  /// Until reads see them: 2.3.5 doesn't say when a delete was.
  void wait_for_deletes();
  std::int64_t count_of(const std::string& condition);
  bool any(const std::string& condition);
  Rows rows(const std::string& condition, Fields fields, std::int64_t limit);
  Rows rows_of(const milvus::QueryResults& results, Fields fields);
  void read_codes(const milvus::FieldData& field, Rows& rows) const;
  /// Rows that fit, by id, a page at a time, until f returns false.
  void each_page(const std::string& condition, Fields fields, std::optional<std::int64_t> after,
                 const std::function<bool(Rows&)>& f);
  /// Ids that pass all filters, where Milvus can't say them all.
  std::vector<std::int64_t> passing(const MilvusCondition& condition);
  MilvusCondition condition_of(std::span<const CollectionFilter> filters);
  /// Refuses filters of members that no item has, as Index::select() does.
  void check_members(std::span<const CollectionFilter> filters);
  void check_member(const IndexFilter& filter);
  // milvus_search.cpp
  void search_pieces(CodesView queries, std::int64_t k, const std::string& condition,
                     std::vector<std::vector<CollectionHit>>& hits);
  std::vector<std::vector<CollectionHit>> search_once(CodesView queries, std::int64_t k,
                                                      const std::string& condition);

  std::string collection_;
  MilvusConnection connection_;
  const std::string sender_;              // tells this connection from others that write
  std::optional<CollectionAbout> about_;  // as it was read or written last
  std::int64_t fresh_ = 0;     // no id from here on was sent, but for what others send now
  std::int64_t unsent_ = 0;    // from here on no id has ever been sent
  bool has_zeros_ = false;     // some item's text may have a character 0
  std::uint64_t written_ = 0;  // the time of the last write known of, by the server's clock
  std::chrono::steady_clock::time_point read_at_{};  // when it became known
  std::set<std::string> members_;                    // of metadata, that items have
  bool index_made_ = false;
  bool strong_ = false;  // reads see all that was written before them
};

template <class Request>
void MilvusCollection::say_how_fresh(Request& request) const {
  // Behind this time "bounded" includes it: 5 seconds, and some more for servers set otherwise.
  constexpr std::chrono::seconds kUntil{60};
  constexpr int kStrong = 0, kBounded = 2, kCustomised = 4;
  const bool recent = written_ > 0 && std::chrono::steady_clock::now() - read_at_ < kUntil;
  request.set_consistency_level(strong_ ? kStrong : recent ? kCustomised : kBounded);
  if (recent && !strong_) request.set_guarantee_timestamp(written_);
}

template <class F>
auto MilvusCollection::loaded(F&& f) {
  known_about();
  try {
    return f();
  } catch (const MilvusNotLoaded&) {
    load();
  }
  return f();
}

}  // namespace hh::retrieval

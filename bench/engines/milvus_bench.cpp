// SPDX-License-Identifier: Apache-2.0
// What a collection's search costs beside the call of Milvus that it makes: hh_milvus_bench URL [CODES]. Pushes random codes of 64 bits
// with labels and paths to a collection of its own, searches both ways in turns, and removes it. One line of JSON each.
#include <grpcpp/grpcpp.h>
#include <milvus.grpc.pb.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>

#include "retrieval/engines/open_collection.h"

namespace hh::retrieval {
namespace {

namespace milvus = ::milvus::proto::milvus;
using Clock = std::chrono::steady_clock;
constexpr const char* kCollection = "hybridhash_bench";
constexpr int kBits = 64, kClasses = 10, kK = 10;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

ItemSet random_items(std::int64_t first, std::int64_t n) {
  ItemSet items;
  std::mt19937_64 random(static_cast<std::uint64_t>(first));
  items.set.codes = PackedCodes(n, kBits);
  items.set.classes = kClasses;
  for (std::int64_t i = 0; i < n; ++i) {
    items.set.codes.row(i)[0] = random();
    items.set.ids.push_back(first + i);
    items.set.labels.push_back(std::uint64_t{1} << random() % kClasses);
    items.set.names.push_back("photos/2020/" + std::to_string(first + i) + ".jpg");
  }
  return items;
}

void add_parameter(milvus::SearchRequest& request, const char* key, const char* value) {
  auto* const pair = request.add_search_params();
  pair->set_key(key);
  pair->set_value(value);
}

/// The call alone: its request is made before, its answer isn't read.
class RawSearch {
 public:
  RawSearch(const std::string& host, CodesView queries, const std::string& condition)
      : stub_(milvus::MilvusService::NewStub(
            grpc::CreateChannel(host, grpc::InsecureChannelCredentials()))) {
    milvus::PlaceholderGroup group;
    auto* const values = group.add_placeholders();
    values->set_tag("$0");
    values->set_type(100);
    for (std::int64_t i = 0; i < queries.count; ++i) {
      values->add_values(queries.row(i).data(), std::size_t(queries.row_bytes()));
    }
    request_.set_collection_name(kCollection);
    request_.set_dsl(condition);
    request_.set_dsl_type(1);
    request_.set_placeholder_group(group.SerializeAsString());
    request_.set_nq(queries.count);
    add_parameter(request_, "anns_field", "code");
    add_parameter(request_, "topk", std::to_string(kK).c_str());
    add_parameter(request_, "metric_type", "HAMMING");
    add_parameter(request_, "params", "{}");
    add_parameter(request_, "round_decimal", "-1");
    request_.set_consistency_level(2);
  }

  bool run() {
    grpc::ClientContext context;
    milvus::SearchResults results;
    return stub_->Search(&context, request_, &results).ok() && results.status().code() == 0;
  }

 private:
  std::unique_ptr<milvus::MilvusService::Stub> stub_;
  milvus::SearchRequest request_;
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + std::ptrdiff_t(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

void compare(Collection& collection, const CollectionAbout& about, const std::string& host,
             const char* name, std::int64_t queries, const std::string& filter, int turns) {
  const ItemSet asked = random_items(1'000'000'000, queries);
  CollectionRequest request{.k = kK, .radius = {}, .filters = {}, .exclude = {}};
  if (!filter.empty()) request.filters = about.filters({filter});
  RawSearch raw(host, asked.set.codes, filter.empty() ? "" : "json_contains_any(item[\"l\"],[3])");
  std::vector<double> ours, theirs, ratios;
  for (int turn = -2; turn < turns; ++turn) {
    auto start = Clock::now();
    collection.search(asked.set.codes, request);
    const double a = since(start);
    start = Clock::now();
    if (!raw.run()) throw std::runtime_error("the call failed");
    const double b = since(start);
    if (turn < 0) continue;
    ours.push_back(a);
    theirs.push_back(b);
  }
  std::printf(
      "{\"case\": \"%s\", \"queries\": %lld, \"collection_ms\": %.3f, \"call_ms\": %.3f, "
      "\"ratio\": %.3f}\n",
      name, static_cast<long long>(queries), median(ours) * 1e3, median(theirs) * 1e3,
      median(ours) / median(theirs));
}

int run(const std::string& url, std::int64_t codes) {
  const auto collection = open_collection({"milvus", url, kCollection});
  if (collection->about()) collection->drop();
  CollectionAbout about;
  about.bits = kBits;
  about.classes = kClasses;
  about.next_id = codes;
  collection->create(about);
  double put = 0;
  for (std::int64_t i = 0; i < codes; i += Collection::kPiece) {
    const ItemSet items = random_items(i, std::min(Collection::kPiece, codes - i));
    const auto start = Clock::now();
    collection->put(items, about);
    put += since(start);
  }
  const auto start = Clock::now();
  collection->settle(about);
  const double settled = since(start);
  std::printf("{\"case\": \"push\", \"codes\": %lld, \"codes_per_s\": %.0f, \"settle_s\": %.2f}\n",
              static_cast<long long>(codes), double(codes) / put, settled);
  std::string host = url;
  if (const auto at = host.find("://"); at != std::string::npos) host = host.substr(at + 3);
  compare(*collection, about, host, "one", 1, "", 300);
  compare(*collection, about, host, "batch", 1000, "", 10);
  compare(*collection, about, host, "filter label=3", 1, "label=3", 100);
  collection->drop();
  return 0;
}

}  // namespace
}  // namespace hh::retrieval

int main(int count, char** arguments) {
  if (count < 2) {
    std::fprintf(stderr, "hh_milvus_bench URL [CODES]\n");
    return 2;
  }
  try {
    return hh::retrieval::run(arguments[1], count > 2 ? std::atoll(arguments[2]) : 1'000'000);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "hh_milvus_bench: %s\n", error.what());
    return 1;
  }
}

// SPDX-License-Identifier: Apache-2.0
// Many searches, or many new items, in one request.
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "apps/serve/answer.h"
#include "apps/serve/api.h"
#include "apps/serve/batch.h"
#include "apps/terminal/elapsed.h"
#include "kernels/core/check.h"
#include "retrieval/files/item_files.h"

namespace hh::apps {
namespace {

using nlohmann::json;

const BatchNames kSearches{.list = "queries",
                           .common = {"k", "radius", "rerank", "filter"},
                           .entry = {"id", "code", "image", "label"}};
const BatchNames kItems{.list = "items",
                        .common = {"replace", "model_hash"},
                        .entry = {"code", "outputs", "image", "name", "label", "metadata", "id"}};
// An answer of a result is some hundred bytes; of a re-ranked one, before it is ranked, a few.
constexpr std::int64_t kMostResults = 20'000, kMostReranked = 200'000;
constexpr std::size_t kMaxHash = 64;

void check_size(std::size_t queries, const SearchParameters& parameters) {
  const auto n = std::int64_t(queries);
  HH_REQUIRE(n * parameters.k <= kMostResults, n << " queries of k = " << parameters.k
                                                 << " results; the limit is " << kMostResults
                                                 << " together: ask for fewer");
  HH_REQUIRE(n * parameters.rerank <= kMostReranked,
             n << " queries of rerank = " << parameters.rerank << "; the limit is " << kMostReranked
               << " together: ask for fewer");
}

/// What is wrong with one entry: its own fault is said of it, a busy server is everyone's.
[[noreturn]] void fail(const BatchNames& names, std::size_t i, const ApiError& error) {
  if (error.status >= 500) throw error;
  throw ApiError{error.status, entry_name(names, i) + ": " + error.message};
}

NewItem item_of(const ServedItems& served, BatchEntry& entry) {
  NewItem item = new_item(served, entry.values);
  const auto codes = entry.values.all("code");
  const int given = int(!codes.empty()) + int(!entry.outputs.empty()) + int(bool(entry.picture));
  HH_REQUIRE(given == 1, "what to add? Give one of code, outputs and image");
  if (!codes.empty()) item.code = retrieval::parse_code(codes[0], served.about().bits);
  if (!entry.outputs.empty()) {
    item.take(std::move(entry.outputs));
    HH_REQUIRE(
        item.code.bits() == served.about().bits,
        "outputs: " << item.code.bits() << " for an index of " << served.about().bits << " bits");
  }
  return item;
}

}  // namespace

HttpResponse Api::search_batch(const HttpRequest& request) {
  std::optional<Batch> batch;
  compute_.on_one_thread([&] { batch = read_batch(request, kSearches); });
  const auto state = served_.state();
  const SearchParameters parameters(*state, batch->values);
  check_size(batch->entries.size(), parameters);
  std::vector<json> answers(batch->entries.size());
  std::vector<ApiQuery> queries;
  std::vector<std::size_t> places;
  const auto start = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const BatchEntry& entry = batch->entries[i];
    const auto failure = failure_of([&] {
      if (!entry.picture) {
        ApiQuery query = query_of(*state, entry.values);
        parameters.check(query);
        return queries.push_back(std::move(query));
      }
      HH_REQUIRE(entry.values.all("id").empty() && entry.values.all("code").empty(),
                 "what to search? Give one of id, code and image");
      require_model();
      require_model_of(*state);
      queries.push_back(query_of(*state, encode(*entry.picture), entry.values));
    });
    if (!failure) {
      places.push_back(i);
    } else if (failure->status >= 500) {
      throw ApiError(*failure);
    } else {
      answers[i] = {{"error", failure->message}, {"status", failure->status}};
    }
  }
  const double encode_seconds = seconds_since(start);
  ApiAnswers found = search_all(*state, queries, parameters, compute_);
  for (std::size_t q = 0; q < places.size(); ++q) {
    answers[places[q]] = std::move(found.answers[q]);
  }
  return json_response({{"answers", std::move(answers)},
                        {"encode_seconds", encode_seconds},
                        {"search_seconds", found.seconds}});
}

HttpResponse Api::add_batch(const HttpRequest& request) {
  std::optional<Batch> batch;
  compute_.on_one_thread([&] { batch = read_batch(request, kItems); });
  const auto state = served_.state();
  const bool replace = replace_wanted(batch->values);
  std::string made_by = batch->values.one("model_hash", kMaxHash);
  const bool pictures = std::any_of(batch->entries.begin(), batch->entries.end(),
                                    [](const BatchEntry& entry) { return bool(entry.picture); });
  std::vector<NewItem> items;
  for (std::size_t i = 0; i < batch->entries.size(); ++i) {
    const auto failure = failure_of([&] { items.push_back(item_of(*state, batch->entries[i])); });
    if (failure) fail(kItems, i, *failure);
  }
  check_ids(has_item(*state), items, replace);  // before the work
  if (pictures) {
    require_model();
    require_model_of(*state);
    HH_REQUIRE(made_by.empty() || made_by == model_->hash,
               "model_hash = " << made_by << ", and the server's model, of the pictures, is "
                               << model_->hash << ": send what another model made by itself");
    made_by = model_->hash;
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto& picture = batch->entries[i].picture;
    if (!picture) continue;
    if (const auto failure = failure_of([&] { items[i].take(encode(*picture)); })) {
      fail(kItems, i, *failure);
    }
  }
  return json_response({{"added", added(items, replace, made_by)}}, 201);
}

}  // namespace hh::apps

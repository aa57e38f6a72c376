// SPDX-License-Identifier: Apache-2.0
#include "retrieval/search/index_search.h"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/core/check.h"
#include "kernels/core/parallel.h"
#include "retrieval/search/asymmetric.h"
#include "retrieval/search/multi_index_tail.h"
#include "retrieval/search/timing.h"

namespace hh::retrieval {
namespace {

constexpr std::array<std::pair<SearchMethod, const char*>, 4> kNames{
    {{SearchMethod::kAuto, "auto"},
     {SearchMethod::kScan, "scan"},
     {SearchMethod::kMultiIndex, "multi-index"},
     {SearchMethod::kAsymmetric, "asymmetric"}}};

}  // namespace

const char* to_string(SearchMethod method) {
  return std::find_if(kNames.begin(), kNames.end(),
                      [&](const auto& entry) { return entry.first == method; })
      ->second;
}

SearchMethod search_method_named(const std::string& name) {
  const auto found = std::find_if(kNames.begin(), kNames.end(),
                                  [&](const auto& entry) { return entry.second == name; });
  HH_REQUIRE(found != kNames.end(),
             "method '" << name << "': use auto, scan, multi-index or asymmetric");
  return found->first;
}

/// A request with what follows from it.
struct IndexSearch::Task {
  const SearchQueries& queries;
  const SearchRequest& request;
  const RowMask* allowed = nullptr;  // null: all rows
  std::int64_t wanted = 1;           // nearest rows of each query that are kept, before re-ranking
  std::int64_t asked = 1;            // that are looked for: one more where one may be the query

  /// Without the query itself.
  template <class Distance>
  std::vector<Hit> hits_of(std::int64_t q, std::span<const std::int64_t> rows,
                           std::span<const Distance> distances) const {
    const bool leave_out = request.exclude_self && !queries.rows.empty();
    const std::int64_t self = leave_out ? queries.rows[std::size_t(q)] : -1;
    std::vector<Hit> hits;
    for (std::size_t i = 0; i < rows.size() && rows[i] >= 0; ++i) {
      if (rows[i] == self) continue;
      if (!request.radius && std::int64_t(hits.size()) == wanted) break;
      hits.push_back({rows[i], float(distances[i])});
    }
    return hits;
  }
};

IndexSearch::IndexSearch(const Index& index, Device device)
    : index_(index), device_(device), scan_(index.codes(), device) {}

void IndexSearch::check(const SearchQueries& queries, const SearchRequest& request) const {
  check_search(index_.codes(), queries.codes, nullptr);
  const auto n = std::size_t(queries.codes.count);
  HH_PRECONDITION(queries.rows.empty() || queries.rows.size() == n,
                  queries.rows.size() << " rows for " << n << " queries");
  const bool by_outputs = request.method == SearchMethod::kAsymmetric;
  HH_REQUIRE(request.radius || request.k >= 1,
             "k = " << request.k << ": ask for at least one result");
  HH_REQUIRE(request.rerank >= 0, "rerank = " << request.rerank << ": use 0 or more");
  HH_REQUIRE(!request.radius || !by_outputs,
             "asymmetric search is for the k nearest, not for a radius: leave out --radius");
  if (!by_outputs && request.rerank == 0) return;
  HH_REQUIRE(!request.radius,
             "re-ranking is for the k nearest, not for a radius: leave out one of them");
  HH_REQUIRE(request.rerank == 0 || index_.manifest().outputs,
             index_.folder().string() << ": the index keeps no outputs to re-rank by; build it by "
                                         "index build --keep-outputs");
  HH_REQUIRE(
      !queries.outputs.empty() || n == 0,
      (by_outputs ? "asymmetric search" : "re-ranking")
          << " takes the network's outputs for the queries: search by images, by items of an "
             "index that keeps outputs, or by codes that were encoded with --outputs");
  HH_PRECONDITION(queries.outputs.size() == n * std::size_t(index_.bits()),
                  queries.outputs.size()
                      << " outputs for " << n << " queries of " << index_.bits() << " bits");
}

SearchAnswer IndexSearch::run(const SearchQueries& queries, const SearchRequest& request) const {
  check(queries, request);
  std::optional<RowMask> passing;
  if (!request.filters.empty()) passing = index_.select(request.filters);
  Task task{
      .queries = queries, .request = request, .allowed = passing ? &*passing : index_.allowed()};
  // No more than there are, so that a large k takes no memory for nothing.
  const std::int64_t rows = std::max<std::int64_t>(index_.rows(), 1);
  task.wanted = std::min(std::max(request.k, request.rerank), rows);
  task.asked = std::min(task.wanted + (request.exclude_self && !queries.rows.empty()), rows);
  SearchAnswer answer =
      request.method == SearchMethod::kAsymmetric ? by_outputs(task) : by_codes(task);
  if (request.rerank > 0) rerank(task, answer);
  return answer;
}

bool IndexSearch::gains_by_threads(const SearchRequest& request) const {
  // As hamming_topk_cpu.cpp splits the rows of few queries; all other ways split queries alone.
  constexpr std::int64_t kWordsOfThread = 1 << 18;
  const CodesView codes = index_.codes();
  return device_ == kCpu && !request.radius && request.tables == nullptr &&
         request.method != SearchMethod::kAsymmetric &&
         codes.count * codes.row_words() >= kWordsOfThread * cpu::num_threads();
}

SearchAnswer IndexSearch::by_outputs(const Task& task) const {
  SearchAnswer answer{.real = true, .method = SearchMethod::kAsymmetric};
  RealResult found;
  answer.seconds = seconds([&] {
    found = asymmetric_topk(index_.codes(), task.queries.outputs, task.asked, task.allowed);
  });
  const auto k = std::size_t(found.k);
  for (std::int64_t q = 0; q < found.queries; ++q) {
    const auto rows = std::span<const std::int64_t>(found.rows).subspan(std::size_t(q) * k, k);
    const auto distances = std::span<const float>(found.distances).subspan(std::size_t(q) * k, k);
    answer.hits.push_back(task.hits_of(q, rows, distances));
  }
  return answer;
}

SearchMethod IndexSearch::choose(const Task& task, SearchAnswer& answer) const {
  const SearchRequest& request = task.request;
  if (request.method != SearchMethod::kAuto) return request.method;
  SearchEstimate& estimate = answer.choice.emplace();
  answer.choose_seconds = seconds([&] {
    if (device_ != kCpu) return;  // a GPU scans; the tables are the CPU's
    const std::size_t memory = memory_for_tables();
    estimate =
        request.radius
            ? choose_for_radius(index_.codes(), task.queries.codes, *request.radius, memory)
            : choose_for_topk(index_.codes(), task.queries.codes, task.asked, task.allowed, memory);
  });
  return estimate.multi_index ? SearchMethod::kMultiIndex : SearchMethod::kScan;
}

SearchAnswer IndexSearch::by_codes(const Task& task) const {
  // Not by a structured binding: clang 14 can't capture one.
  const SearchQueries& queries = task.queries;
  const SearchRequest& request = task.request;
  const RowMask* const allowed = task.allowed;
  const std::int64_t asked = task.asked;
  SearchAnswer answer;
  answer.method = choose(task, answer);
  std::optional<MultiIndex> built;
  const MultiIndex* tables = nullptr;
  if (answer.method == SearchMethod::kMultiIndex) {
    tables = request.tables;
    if (tables == nullptr) {
      answer.build_seconds = seconds([&] { tables = &built.emplace(index_.codes()); });
    }
  }
  MultiIndex::Statistics statistics;
  const auto take = [&](const auto& found) {
    for (std::int64_t q = 0; q < queries.codes.count; ++q) {
      answer.hits.push_back(task.hits_of(q, found.rows_of(q), found.distances_of(q)));
    }
  };
  if (request.radius) {
    RadiusResult found;
    answer.seconds = seconds([&] {
      found = tables != nullptr ? radius_with_tail(*tables, index_.codes(), queries.codes,
                                                   *request.radius, allowed, &statistics)
                                : scan_.radius(queries.codes, *request.radius, allowed);
    });
    take(found);
  } else {
    TopkResult found;
    answer.seconds = seconds([&] {
      found = tables != nullptr ? topk_with_tail(*tables, index_.codes(), queries.codes, asked,
                                                 allowed, &statistics)
                                : scan_.topk(queries.codes, asked, allowed);
    });
    take(found);
  }
  answer.scanned = statistics.queries_scanned;
  if (answer.choice) answer.seconds += answer.choose_seconds + answer.build_seconds;
  return answer;
}

void IndexSearch::rerank(const Task& task, SearchAnswer& answer) const {
  answer.seconds += seconds([&] {
    const std::int64_t n = task.queries.codes.count, k = std::min(task.request.k, task.wanted);
    TopkResult candidates{n, task.wanted, {}, {}};
    candidates.rows.resize(std::size_t(n * task.wanted), -1);
    for (std::size_t q = 0; q < answer.hits.size(); ++q) {
      const auto to = candidates.rows.begin() + std::ptrdiff_t(q) * task.wanted;
      std::ranges::transform(answer.hits[q], to, &Hit::row);
    }
    const RealResult found =
        retrieval::rerank(candidates, task.queries.outputs, index_.outputs(), index_.bits(), k);
    for (std::size_t q = 0; q < answer.hits.size(); ++q) {
      answer.hits[q].clear();
      for (std::size_t i = q * std::size_t(k); i < (q + 1) * std::size_t(k); ++i) {
        if (found.rows[i] >= 0) answer.hits[q].push_back({found.rows[i], found.distances[i]});
      }
    }
  });
  answer.real = true;
}

}  // namespace hh::retrieval

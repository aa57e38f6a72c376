// SPDX-License-Identifier: Apache-2.0
// One search of an index, as the command line, the server and other programs ask for it: the k
// nearest or all within a radius; among all items or those that pass filters; by the codes or by
// the network's real-valued outputs, which may also put the nearest codes in a finer order.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/device/device.h"
#include "retrieval/index/index.h"
#include "retrieval/search/choice.h"
#include "retrieval/search/hamming_scan.h"
#include "retrieval/search/multi_index.h"

namespace hh::retrieval {

enum class SearchMethod {
  kAuto,        // scan or multi-index, whichever is measured to be done sooner
  kScan,        // every code is looked at
  kMultiIndex,  // the same answers, by tables
  kAsymmetric,  // by the queries' real-valued outputs
};

/// auto, scan, multi-index, asymmetric.
const char* to_string(SearchMethod method);
/// Throws std::invalid_argument for any other name.
SearchMethod search_method_named(const std::string& name);

/// What is searched for, n queries. Views: their memory must outlive the search.
struct SearchQueries {
  CodesView codes;                     // [n]
  std::span<const float> outputs;      // [n, bits] of the network; empty: unknown
  std::span<const std::int64_t> rows;  // [n] of the index, where the queries are items of it; empty
};

struct SearchRequest {
  std::int64_t k = 10;                        // that many of the nearest, >= 1
  std::optional<int> radius;                  // in place of them: all at most so far away, >= 0
  std::vector<std::string> filters;           // as Index::select() takes them
  bool exclude_self = false;                  // a query's own row is no result
  std::int64_t rerank = 0;                    // so many of the nearest are put in order of the
                                              // outputs, of which the first k stay; 0: none
  SearchMethod method = SearchMethod::kAuto;  // kAuto may build tables: not for single queries
  /// For kMultiIndex: of the index's first rows, made before. Null: made for this search alone.
  const MultiIndex* tables = nullptr;
};

struct Hit {
  std::int64_t row = 0;
  float distance = 0;  // Hamming distance, a whole number, unless SearchAnswer::real
};

struct SearchAnswer {
  std::vector<std::vector<Hit>> hits;  // of each query, by distance, then by row
  /// By the outputs: asymmetric distances, or after re-ranking squared Euclidean ones.
  bool real = false;
  SearchMethod method = SearchMethod::kScan;  // what was done; never kAuto
  std::int64_t scanned = 0;                   // queries whose lookups were given up for a scan
  /// Seconds of the searches; where the method was chosen, of choosing and building too.
  double seconds = 0;
  double build_seconds = 0, choose_seconds = 0;
  std::optional<SearchEstimate> choice;  // where the method was chosen
};

class IndexSearch {
 public:
  /// Keeps the reference. On a GPU the codes are copied there; tables and outputs are searched on
  /// the CPU always.
  explicit IndexSearch(const Index& index, Device device = kCpu);
  IndexSearch(const IndexSearch&) = delete;
  IndexSearch& operator=(const IndexSearch&) = delete;

  /// Safe from many threads at once; each call computes on up to cpu::num_threads() threads, so a
  /// caller of many bounds them (cpu::ThreadLimit). Throws std::invalid_argument: widths that
  /// differ, a request that makes no sense, outputs that aren't there, filters that can't be read.
  SearchAnswer run(const SearchQueries& queries, const SearchRequest& request) const;

  /// Whether a single query is answered sooner by several threads than by one.
  bool gains_by_threads(const SearchRequest& request) const;

 private:
  struct Task;
  void check(const SearchQueries& queries, const SearchRequest& request) const;
  SearchAnswer by_outputs(const Task& task) const;
  SearchAnswer by_codes(const Task& task) const;
  SearchMethod choose(const Task& task, SearchAnswer& answer) const;
  void rerank(const Task& task, SearchAnswer& answer) const;

  const Index& index_;
  Device device_;
  HammingScan scan_;
};

}  // namespace hh::retrieval

// SPDX-License-Identifier: Apache-2.0
#include "retrieval/search/index_search.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <utility>

#include "kernels/core/parallel.h"
#include "tests/support/codes.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/values.h"

namespace hh::retrieval {
namespace {

using Catch::Contains;
constexpr int kBits = 40;
constexpr std::int64_t kRows = 300;

/// An index of items with outputs, of which every seventh is deleted; item i has the path i.png and
/// the label i % 3.
class Material {
 public:
  Material() : index_(make()) {}
  const Index& index() const { return index_; }
  std::span<const float> outputs() const { return outputs_; }

 private:
  Index make() {
    ItemSet items;
    outputs_ = testing::normal(std::size_t(kRows) * kBits, 5);
    items.set.codes = PackedCodes::from_floats(outputs_, kRows, kBits);
    items.set.outputs = outputs_;
    items.set.classes = 3;
    std::vector<std::int64_t> gone;
    for (std::int64_t i = 0; i < kRows; ++i) {
      items.set.ids.push_back(i);
      items.set.labels.push_back(std::uint64_t{1} << (i % 3));
      items.set.names.push_back(std::to_string(i) + ".png");
      if (i % 7 == 0) gone.push_back(i);
    }
    build_index(folder_ / "x", items, false, true);
    IndexWriter(folder_ / "x").remove(gone);
    return Index::open(folder_ / "x");
  }

  testing::TemporaryFolder folder_;
  std::vector<float> outputs_;
  Index index_;
};

/// What should be found for row `self` of the index, by distance(row): the definition.
template <class Distance>
std::vector<Hit> expected(std::int64_t self, const SearchRequest& request, bool only_class_1,
                          const Distance& distance) {
  std::vector<std::pair<float, std::int64_t>> order;
  for (std::int64_t row = 0; row < kRows; ++row) {
    if (row % 7 == 0 || (only_class_1 && row % 3 != 1)) continue;
    if (request.exclude_self && row == self) continue;
    const float d = distance(row);
    if (!request.radius || d <= float(*request.radius)) order.emplace_back(d, row);
  }
  std::sort(order.begin(), order.end());
  if (!request.radius) order.resize(std::min(order.size(), std::size_t(request.k)));
  std::vector<Hit> hits;
  for (const auto& [d, row] : order) hits.push_back({row, d});
  return hits;
}

void check_same(const std::vector<Hit>& got, const std::vector<Hit>& want) {
  REQUIRE(got.size() == want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    REQUIRE(got[i].row == want[i].row);
    REQUIRE(got[i].distance == Approx(want[i].distance));
  }
}

TEST_CASE("a search of an index finds what its definition says", "[index_search]") {
  const Material material;
  const Index& index = material.index();
  const IndexSearch search(index);
  const MultiIndex tables(index.codes().slice(0, 200));  // the index has grown since
  const std::vector<std::int64_t> rows{10, 151, 299};
  PackedCodes codes;
  std::vector<float> outputs;
  for (const std::int64_t row : rows) {
    codes.append(index.codes().slice(row, row + 1));
    const auto values = index.outputs_of(row);
    outputs.insert(outputs.end(), values.begin(), values.end());
  }
  SearchRequest request;
  request.k = GENERATE(1, 20, 5000);
  request.exclude_self = GENERATE(false, true);
  const bool filtered = GENERATE(false, true);
  if (filtered) request.filters = {"label=1"};
  CAPTURE(request.k, request.exclude_self, filtered);
  const SearchQueries queries{.codes = codes, .outputs = outputs, .rows = rows};
  const auto hamming = [&](std::int64_t q) {
    return [&, q](std::int64_t row) {
      return float(hamming_distance(codes.view().row(q), index.codes().row(row)));
    };
  };
  for (const bool radius : {false, true}) {
    request.radius.reset();
    if (radius) request.radius = 18;
    for (const auto method :
         {SearchMethod::kAuto, SearchMethod::kScan, SearchMethod::kMultiIndex}) {
      for (const MultiIndex* made : {static_cast<const MultiIndex*>(nullptr), &tables}) {
        request.method = method;
        request.tables = made;
        const SearchAnswer answer = search.run(queries, request);
        CHECK(!answer.real);
        CHECK(answer.method == (method == SearchMethod::kAuto ? SearchMethod::kScan : method));
        CHECK(answer.choice.has_value() == (method == SearchMethod::kAuto));
        REQUIRE(answer.hits.size() == rows.size());
        for (std::size_t q = 0; q < rows.size(); ++q) {
          check_same(answer.hits[q],
                     expected(rows[q], request, filtered, hamming(std::int64_t(q))));
        }
      }
    }
  }
  request.radius.reset();
  request.method = SearchMethod::kAsymmetric;
  const SearchAnswer by_outputs = search.run(queries, request);
  CHECK(by_outputs.real);
  for (std::size_t q = 0; q < rows.size(); ++q) {
    check_same(by_outputs.hits[q], expected(rows[q], request, filtered, [&](std::int64_t row) {
                 float sum = 0;
                 for (std::size_t j = 0; j < kBits; ++j) {
                   const float u = outputs[q * kBits + j];
                   if ((u > 0) != index.codes().bit(row, int(j))) sum += std::abs(u);
                 }
                 return sum;
               }));
  }
  // With as many candidates as there are rows, the order is that of the outputs alone.
  request.method = SearchMethod::kScan;
  request.rerank = kRows;
  const SearchAnswer ranked = search.run(queries, request);
  CHECK(ranked.real);
  for (std::size_t q = 0; q < rows.size(); ++q) {
    check_same(ranked.hits[q], expected(rows[q], request, filtered, [&](std::int64_t row) {
                 float sum = 0;
                 for (std::size_t j = 0; j < kBits; ++j) {
                   const float d = outputs[q * kBits + j] - index.outputs_of(row)[j];
                   sum += d * d;
                 }
                 return sum;
               }));
  }
}

TEST_CASE("re-ranking takes no candidate more where the query is not among them",
          "[index_search]") {
  const Material material;
  const Index& index = material.index();
  const IndexSearch search(index);
  const std::int64_t row = 9;  // of the class 0, which the filter leaves out
  const SearchQueries queries{.codes = index.codes().slice(row, row + 1),
                              .outputs = index.outputs_of(row),
                              .rows = std::span(&row, 1)};
  SearchRequest request{.k = 1, .filters = {"label=1"}, .exclude_self = true};
  const std::int64_t nearest = search.run(queries, request).hits[0][0].row;
  request.rerank = 1;
  CHECK(search.run(queries, request).hits[0][0].row == nearest);
}

TEST_CASE("an index search names what it refuses", "[index_search]") {
  const Material material;
  const IndexSearch search(material.index());
  const PackedCodes one(1, kBits), narrow(1, 16);
  const auto fails = [&](const SearchQueries& queries, const SearchRequest& request,
                         const char* text) {
    CHECK_THROWS_WITH(search.run(queries, request), Contains(text));
  };
  fails({.codes = narrow}, {}, "16 bits");
  fails({.codes = one}, {.k = 0}, "k = 0");
  fails({.codes = one}, {.radius = -1}, "radius = -1");
  fails({.codes = one}, {.rerank = 5}, "--outputs");
  fails({.codes = one}, {.method = SearchMethod::kAsymmetric}, "--outputs");
  fails({.codes = one}, {.radius = 3, .rerank = 5}, "not for a radius");
  fails({.codes = one}, {.radius = 3, .method = SearchMethod::kAsymmetric}, "not for a radius");
  fails({.codes = one, .outputs = material.outputs().first(3)}, {.rerank = 5}, "3 outputs");
  fails({.codes = one}, {.filters = {"label"}}, "label");
  CHECK_THROWS_WITH(search_method_named("fast"), Contains("'fast'"));
  CHECK(search_method_named("multi-index") == SearchMethod::kMultiIndex);
  CHECK(search.run({.codes = PackedCodes(0, kBits)}, {}).hits.empty());
}

TEST_CASE("only scans of much are for several threads", "[index_search]") {
  const Material material;
  const IndexSearch search(material.index());
  CHECK(!search.gains_by_threads({.method = SearchMethod::kScan}));
}

}  // namespace
}  // namespace hh::retrieval

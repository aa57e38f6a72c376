// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "api/boundary.h"
#include "api/items.h"
#include "kernels/core/parallel.h"
#include "retrieval/search/index_search.h"

using namespace hh::api;
namespace retrieval = hh::retrieval;

namespace {

/// One state of an index, which searches keep while they run.
struct State {
  explicit State(retrieval::Index index_in) : index(std::move(index_in)), search(index) {}
  retrieval::Index index;
  retrieval::IndexSearch search;
};

}  // namespace

struct hh_index {
  std::string folder;
  int bits = 0;                      // as it was opened: what the caller's arrays are for
  std::mutex changing;               // one change at a time
  std::atomic<bool> behind = false;  // `state` lacks a change that this handle made
  mutable std::mutex mutex;          // of what follows
  std::shared_ptr<const State> state;
  std::set<std::string> model_hashes;  // all so far: what was returned lives as long as the handle
  const char* model_hash = "";         // of `state`

  std::shared_ptr<const State> now() {
    if (behind) {
      refresh();
      behind = false;
    }
    const std::scoped_lock lock(mutex);
    return state;
  }
  /// Another process may have put another index in this one's place.
  void check_bits(const retrieval::Index& found) const {
    HH_REQUIRE(found.bits() == bits, folder << ": its codes have " << found.bits()
                                            << " bits now, and had " << bits
                                            << " when it was opened: open it again");
  }
  void refresh() {
    const auto before = [&] {
      const std::scoped_lock lock(mutex);
      return state;
    }();
    auto fresh =
        std::make_shared<State>(retrieval::Index::open(folder, before ? &before->index : nullptr));
    if (before) {
      check_bits(fresh->index);
    } else {
      bits = fresh->index.bits();
    }
    const std::scoped_lock lock(mutex);
    model_hash = model_hashes.insert(fresh->index.manifest().model_hash).first->c_str();
    state = std::move(fresh);
  }
  /// Runs change(writer) and shows its result to later calls.
  template <class F>
  void change(F&& what) {
    const std::scoped_lock lock(changing);
    {
      const auto before = now();
      retrieval::IndexWriter writer(folder, retrieval::kWriterWaitSeconds, &before->index);
      check_bits(writer.index());
      what(writer);
    }
    // The change is made and stays. Where there is no memory for its new state now, the next call
    // tries again.
    try {
      refresh();
    } catch (...) {
      behind = true;
    }
  }
};

struct hh_hits {
  std::vector<std::int64_t> offsets{0}, ids;
  std::vector<float> distances;
  const char* method = "";
  double seconds = 0;
};

namespace {

std::int64_t row_of(const retrieval::Index& index, std::int64_t id) {
  const auto row = index.row_of(id);
  HH_REQUIRE(row.has_value(),
             "there is no item with id " << id << " in " << index.folder().string());
  return *row;
}

/// The caller's queries, in memory that a search may look at.
struct Queries {
  retrieval::PackedCodes codes;
  std::vector<float> outputs;
  std::vector<std::int64_t> rows;

  Queries(const retrieval::Index& index, const hh_queries& q) {
    HH_REQUIRE(q.count >= 0, "queries: count = " << q.count);
    HH_REQUIRE(q.count == 0 || q.codes != nullptr || q.ids != nullptr,
               "queries: give codes or ids");
    const auto n = std::size_t(q.count);
    if (q.ids != nullptr) {
      for (const std::int64_t id : std::span(q.ids, n)) rows.push_back(row_of(index, id));
    }
    if (q.codes != nullptr || q.count == 0) {
      codes = packed(q.codes, q.count, index.bits());
    } else {
      codes = retrieval::PackedCodes(0, index.bits());
      for (const std::int64_t row : rows) codes.append(index.codes().slice(row, row + 1));
    }
    if (q.outputs != nullptr) {
      outputs.assign(q.outputs, q.outputs + n * std::size_t(index.bits()));
    } else if (!rows.empty() && index.manifest().outputs) {
      for (const std::int64_t row : rows) {
        const auto own = index.outputs_of(row);
        outputs.insert(outputs.end(), own.begin(), own.end());
      }
    }
  }
  retrieval::SearchQueries view() const {
    return {.codes = codes.view(), .outputs = outputs, .rows = rows};
  }
};

retrieval::SearchAnswer run(const State& state, const retrieval::SearchQueries& queries,
                            const retrieval::SearchRequest& request, int threads) {
  check_threads(threads);
  std::optional<hh::cpu::ThreadLimit> limit;
  if (threads > 0) limit.emplace(threads);
  return state.search.run(queries, request);
}

}  // namespace

hh_status hh_index_build(const char* folder, const hh_codes* codes, int overwrite,
                         int keep_outputs) {
  return guarded([&] {
    HH_REQUIRE(needed(folder, "folder") != '\0', "folder is empty: name where the index goes");
    retrieval::build_index(folder, needed(codes, "codes").items, overwrite != 0, keep_outputs != 0);
  });
}

hh_status hh_index_open(const char* folder, hh_index** index) {
  return guarded([&] {
    hh_index*& out = needed(index, "index");
    auto made = std::make_unique<hh_index>();
    // Changes go where it was opened, wherever the program goes meanwhile.
    made->folder = std::filesystem::absolute(&needed(folder, "folder")).string();
    made->refresh();
    out = made.release();
  });
}

void hh_index_close(hh_index* index) { delete index; }

hh_status hh_index_refresh(hh_index* index) {
  return guarded([&] {
    hh_index& to = needed(index, "index");
    const std::scoped_lock lock(to.changing);
    to.refresh();
  });
}

int hh_index_bits(const hh_index* index) { return index->bits; }
int64_t hh_index_count(const hh_index* index) {
  const std::scoped_lock lock(index->mutex);
  return index->state->index.count();
}
const char* hh_index_model_hash(const hh_index* index) {
  const std::scoped_lock lock(index->mutex);
  return index->model_hash;
}

hh_status hh_index_add(hh_index* index, const hh_codes* codes, hh_same_id same_id,
                       int64_t* replaced) {
  return guarded([&] {
    HH_REQUIRE(same_id >= HH_SAME_ID_REFUSE && same_id <= HH_SAME_ID_RENUMBER,
               "same_id = " << int(same_id) << ": use one of hh_same_id");
    const retrieval::ItemSet& items = needed(codes, "codes").items;
    std::int64_t count = 0;
    needed(index, "index").change([&](retrieval::IndexWriter& writer) {
      count = writer.add(items, retrieval::SameId(same_id));
    });
    if (replaced != nullptr) *replaced = count;
  });
}

hh_status hh_index_delete(hh_index* index, const int64_t* ids, int64_t count, int64_t* deleted) {
  return guarded([&] {
    HH_REQUIRE(count >= 0 && (count == 0 || ids != nullptr),
               "count = " << count << ", and ids is NULL");
    std::int64_t removed = 0;
    needed(index, "index").change([&](retrieval::IndexWriter& writer) {
      removed = writer.remove({ids, std::size_t(count)});
    });
    if (deleted != nullptr) *deleted = removed;
  });
}

hh_status hh_index_compact(hh_index* index) {
  return guarded([&] {
    needed(index, "index").change([](retrieval::IndexWriter& writer) { writer.compact(); });
  });
}

hh_status hh_index_items(hh_index* index, const int64_t* ids, int64_t count, hh_codes** items) {
  return guarded([&] {
    hh_codes*& out = needed(items, "items");
    HH_REQUIRE(count >= 0 && (count == 0 || ids != nullptr),
               "count = " << count << ", and ids is NULL");
    const auto state = needed(index, "index").now();
    std::vector<std::int64_t> rows;
    for (std::int64_t i = 0; i < count; ++i) rows.push_back(row_of(state->index, ids[i]));
    out = new hh_codes(state->index.contents(rows));
  });
}

hh_status hh_index_select(hh_index* index, const char* const* filters, int64_t filter_count,
                          hh_codes** items) {
  return guarded([&] {
    hh_codes*& out = needed(items, "items");
    const auto state = needed(index, "index").now();
    const retrieval::RowMask mask = state->index.select(texts(filters, filter_count, "filters"));
    std::vector<std::int64_t> rows;
    for (std::int64_t row = 0; row < mask.rows(); ++row) {
      if (mask.test(row)) rows.push_back(row);
    }
    out = new hh_codes(state->index.contents(rows));
  });
}

hh_status hh_index_search(hh_index* index, const hh_queries* queries,
                          const hh_search_options* options, hh_hits** hits) {
  return guarded([&] {
    hh_hits*& out = needed(hits, "hits");
    const auto state = needed(index, "index").now();
    needed(queries, "queries");
    const Queries given(state->index, options_or(queries, hh_queries HH_QUERIES_INIT, "queries"));
    const hh_search_options o =
        options_or(options, hh_search_options HH_SEARCH_OPTIONS_INIT, "options");
    HH_REQUIRE(o.radius <= index->bits, "radius = " << o.radius
                                                    << ": codes of this index differ in at most "
                                                    << index->bits << " bits");
    retrieval::SearchRequest request{
        .k = o.k,
        .filters = texts(o.filters, o.filter_count, "filters"),
        .exclude_self = o.exclude_self != 0,
        .rerank = o.rerank,
        .method = retrieval::search_method_named(o.method == nullptr ? "auto" : o.method)};
    if (o.radius >= 0) request.radius = o.radius;
    const retrieval::SearchAnswer answer = run(*state, given.view(), request, o.threads);
    auto made = std::make_unique<hh_hits>();
    const auto ids = state->index.ids();
    for (const auto& of_query : answer.hits) {
      for (const retrieval::Hit& hit : of_query) {
        made->ids.push_back(ids[std::size_t(hit.row)]);
        made->distances.push_back(hit.distance);
      }
      made->offsets.push_back(std::int64_t(made->ids.size()));
    }
    made->method = retrieval::to_string(answer.method);
    made->seconds = answer.seconds;
    out = made.release();
  });
}

hh_status hh_hits_view(const hh_hits* hits, hh_hits_data* data) {
  return guarded([&] {
    const hh_hits& from = needed(hits, "hits");
    give(data,
         {.size = sizeof(hh_hits_data),
          .count = std::int64_t(from.offsets.size()) - 1,
          .offsets = from.offsets.data(),
          .ids = from.ids.data(),
          .distances = from.distances.data(),
          .method = from.method,
          .seconds = from.seconds},
         "data");
  });
}

void hh_hits_close(hh_hits* hits) { delete hits; }

hh_status hh_index_nearest(hh_index* index, const uint8_t* codes, int64_t count, int64_t k,
                           int64_t* ids, int32_t* distances) {
  return guarded([&] {
    const auto state = needed(index, "index").now();
    HH_REQUIRE(count == 0 || (ids != nullptr && distances != nullptr), "ids or distances is NULL");
    const retrieval::PackedCodes queries = packed(codes, count, index->bits);
    const retrieval::SearchAnswer answer =
        run(*state, {.codes = queries.view(), .outputs = {}, .rows = {}},
            {.k = k, .method = retrieval::SearchMethod::kScan}, 0);
    const auto all = state->index.ids();
    for (std::size_t q = 0; q < answer.hits.size(); ++q) {
      std::int64_t* to = ids + q * std::size_t(k);
      std::int32_t* far = distances + q * std::size_t(k);
      for (std::size_t i = 0; i < std::size_t(k); ++i) {
        const bool found = i < answer.hits[q].size();
        to[i] = found ? all[std::size_t(answer.hits[q][i].row)] : -1;
        far[i] = found ? std::int32_t(answer.hits[q][i].distance) : -1;
      }
    }
  });
}

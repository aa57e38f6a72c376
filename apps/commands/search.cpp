// SPDX-License-Identifier: Apache-2.0
// hybridhash search: the items of an index whose codes are nearest to those of queries.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "apps/commands/command.h"
#include "apps/report/gallery.h"
#include "data/experiments/shuffle.h"
#include "engine/files/file.h"
#include "pipeline/data_source.h"
#include "retrieval/files/item_files.h"
#include "retrieval/files/npy.h"
#include "retrieval/index/index.h"
#include "retrieval/search/asymmetric.h"
#include "retrieval/search/choice.h"
#include "retrieval/search/hamming_scan.h"
#include "retrieval/search/multi_index.h"

namespace hh::apps {
namespace {

using retrieval::CodeSet, retrieval::Index;

struct Options {
  std::string index, model, codes, list, dtype = "f32", method = "auto", html, out, out_distances;
  std::vector<std::string> images, code_texts, filters;
  std::vector<std::int64_t> ids;
  std::int64_t k = 10, rerank = 0, sample = 0;
  std::optional<int> radius;
  std::uint64_t seed = 0;
  bool json = false, exclude_self = false;
  pipeline::EncoderOptions encoder;
  ComputeOptions compute;
  ThumbnailSource pictures;
};

/// What is searched for. ids of queries from elsewhere mean nothing.
struct Queries {
  CodeSet set;
  std::vector<std::int64_t> rows;  // in the index, where queries are items of it
};

Queries items_as_queries(const Options& o, const Index& index) {
  Queries queries;
  CodeSet& set = queries.set;
  set.classes = index.manifest().classes;
  set.class_names = index.manifest().class_names;
  const auto words = std::size_t(set.classes + 63) / 64;
  for (const std::int64_t id : o.ids) {
    const auto row = index.row_of(id);
    HH_REQUIRE(row.has_value(), o.index << ": there is no item with id " << id);
    const retrieval::IndexItem item = index.item(*row);
    queries.rows.push_back(*row);
    set.codes.append(index.codes().slice(*row, *row + 1));
    set.ids.push_back(id);
    set.names.push_back(item.description.path.empty() ? fmt::format("#{}", id)
                                                      : item.description.path);
    const auto outputs = index.outputs_of(*row);
    set.outputs.insert(set.outputs.end(), outputs.begin(), outputs.end());
    set.labels.resize(set.labels.size() + words);
    for (const int c : item.description.labels) {
      set.labels[set.labels.size() - words + std::size_t(c / 64)] |= std::uint64_t{1} << (c % 64);
    }
  }
  return queries;
}

CodeSet codes_as_queries(const std::vector<std::string>& texts, int bits) {
  CodeSet set;
  for (const std::string& text : texts) {
    set.ids.push_back(set.count());
    set.names.push_back("code " + text);
    set.codes.append(retrieval::parse_code(text, bits));
  }
  return set;
}

CodeSet images_as_queries(const Options& o, Device device) {
  HH_REQUIRE(!o.model.empty(), "to search by images, give the --model that made the index's codes");
  const auto model = pipeline::load_model(o.model, device, activation_dtype(o.dtype));
  pipeline::SourceOptions source;
  source.files = o.images;
  source.list = o.list;
  source.image_root = o.pictures.image_root;
  pipeline::EncoderOptions encoder = o.encoder;
  encoder.keep_outputs = true;
  return pipeline::encode_source(*model, pipeline::open_source(model->info, o.model, source),
                                 encoder);
}

/// The chosen ones, in their order.
CodeSet subset(const CodeSet& set, const std::vector<std::int64_t>& chosen) {
  CodeSet part;
  part.classes = set.classes;
  part.class_names = set.class_names;
  part.model_hash = set.model_hash;
  const auto words = std::size_t(set.classes + 63) / 64;
  for (const std::int64_t i : chosen) {
    part.codes.append(set.codes.view().slice(i, i + 1));
    part.ids.push_back(set.ids[std::size_t(i)]);
    if (!set.names.empty()) part.names.push_back(set.names[std::size_t(i)]);
    const auto labels = set.labels.begin() + std::ptrdiff_t(std::size_t(i) * words);
    part.labels.insert(part.labels.end(), labels, labels + std::ptrdiff_t(words));
    if (set.outputs.empty()) continue;
    const auto bits = std::ptrdiff_t(set.codes.bits());
    const auto outputs = set.outputs.begin() + std::ptrdiff_t(i) * bits;
    part.outputs.insert(part.outputs.end(), outputs, outputs + bits);
  }
  return part;
}

/// `count` different numbers below n, ascending.
std::vector<std::int64_t> draw(std::int64_t n, std::int64_t count, std::uint64_t seed) {
  std::vector<std::int64_t> chosen(std::size_t(n), 0);
  std::iota(chosen.begin(), chosen.end(), 0);
  data::shuffle(chosen, Philox(seed, RandomPurpose::kSplit));
  chosen.resize(std::size_t(std::min(n, count)));
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

Queries read_queries(const Options& o, const Index& index, Device device) {
  const int kinds = !o.images.empty() + !o.list.empty() + !o.code_texts.empty() + !o.ids.empty() +
                    !o.codes.empty();
  HH_REQUIRE(kinds == 1,
             "what to search for? Give one of --image, --list, --code, --id and --codes");
  Queries queries;
  if (!o.ids.empty()) {
    queries = items_as_queries(o, index);
  } else if (!o.code_texts.empty()) {
    queries.set = codes_as_queries(o.code_texts, index.bits());
  } else {
    queries.set =
        o.codes.empty() ? images_as_queries(o, device) : retrieval::read_items(o.codes).set;
  }
  index.check_belongs(queries.set.codes.bits(), queries.set.model_hash);
  if (o.sample > 0) {
    const auto chosen = draw(queries.set.count(), o.sample, o.seed);
    queries.set = subset(queries.set, chosen);
    std::vector<std::int64_t> rows;
    for (const std::int64_t i : chosen) {
      if (!queries.rows.empty()) rows.push_back(queries.rows[std::size_t(i)]);
    }
    queries.rows = rows;
  }
  return queries;
}

struct Hit {
  std::int64_t row = 0;
  float distance = 0;  // a whole number where codes are compared, not outputs
};

struct Answers {
  std::vector<std::vector<Hit>> hits;  // of each query, nearest first
  double seconds = 0;                  // of the searches alone
  double build_seconds = 0;            // of multi-index hashing's tables
  std::string method;                  // what was done
  bool real = false;                   // distances are no whole numbers
  // Where that was chosen: then `seconds` is of choosing and building too.
  std::optional<retrieval::SearchEstimate> choice;
  double choose_seconds = 0;
};

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The first k of a query's results, without the query itself where that is wanted.
template <class Distance>
std::vector<Hit> hits_of(const Options& o, const Queries& queries, std::int64_t q,
                         std::span<const std::int64_t> rows, std::span<const Distance> distances) {
  const bool by_id = o.exclude_self && !queries.rows.empty();
  const std::int64_t self = by_id ? queries.rows[std::size_t(q)] : -1;
  std::vector<Hit> hits;
  for (std::size_t i = 0; i < rows.size() && rows[i] >= 0; ++i) {
    if (rows[i] == self) continue;
    if (!o.radius && std::int64_t(hits.size()) == o.k) break;
    hits.push_back({rows[i], float(distances[i])});
  }
  return hits;
}

/// By HammingScan or MultiIndex, which answer alike.
template <class Search>
Answers by_hamming_distance(const Options& o, const Search& search, const Queries& queries,
                            const retrieval::RowMask* allowed) {
  Answers answers;
  const retrieval::CodesView codes = queries.set.codes;
  const auto take = [&](const auto& found) {
    for (std::int64_t q = 0; q < codes.count; ++q) {
      answers.hits.push_back(hits_of(o, queries, q, found.rows_of(q), found.distances_of(q)));
    }
  };
  const auto start = Clock::now();
  if (o.radius) {
    const retrieval::RadiusResult found = search.radius(codes, *o.radius, allowed);
    answers.seconds = since(start);
    take(found);
  } else {
    const retrieval::TopkResult found = search.topk(codes, o.k + o.exclude_self, allowed);
    answers.seconds = since(start);
    take(found);
  }
  return answers;
}

/// By the network's real-valued outputs for the queries.
Answers by_outputs(const Options& o, const Index& index, const Queries& queries,
                   const retrieval::RowMask* allowed) {
  HH_REQUIRE(!queries.set.outputs.empty(),
             "asymmetric search takes the outputs of a network: give --image or --list, or codes "
             "that were encoded with --outputs");
  HH_REQUIRE(!o.radius, "asymmetric search is for the k nearest, not for a radius");
  const auto start = Clock::now();
  const retrieval::RealResult found =
      retrieval::asymmetric_topk(index.codes(), queries.set.outputs, o.k + o.exclude_self, allowed);
  Answers answers{.seconds = since(start), .method = o.method, .real = true};
  const auto k = std::size_t(found.k);
  for (std::int64_t q = 0; q < found.queries; ++q) {
    const auto rows = std::span(found.rows).subspan(std::size_t(q) * k, k);
    const auto distances = std::span(found.distances).subspan(std::size_t(q) * k, k);
    answers.hits.push_back(hits_of<float>(o, queries, q, rows, distances));
  }
  return answers;
}

/// By the method named, or the one that promises to be done sooner.
Answers by_codes(const Options& o, const Index& index, const Queries& queries,
                 const retrieval::RowMask* allowed, Device device) {
  const auto start = Clock::now();
  std::string method = o.method;
  std::optional<retrieval::SearchEstimate> choice;
  if (method == "auto") {
    const auto memory = retrieval::memory_for_tables();
    // A GPU scans; the tables are the CPU's.
    if (device != kCpu) {
      choice.emplace();
    } else if (o.radius) {
      choice = retrieval::choose_for_radius(index.codes(), queries.set.codes, *o.radius, memory);
    } else {
      choice = retrieval::choose_for_topk(index.codes(), queries.set.codes, o.k + o.exclude_self,
                                          allowed, memory);
    }
    method = choice->multi_index ? "multi-index" : "scan";
  }
  const double choose_seconds = since(start);
  Answers answers;
  if (method == "scan") {
    const retrieval::HammingScan scan(index.codes(), device);
    answers = by_hamming_distance(o, scan, queries, allowed);
  } else {
    const retrieval::MultiIndex tables(index.codes());
    const double build_seconds = since(start) - choose_seconds;
    answers = by_hamming_distance(o, tables, queries, allowed);
    answers.build_seconds = build_seconds;
  }
  answers.method = method;
  answers.choice = choice;
  if (choice) {
    answers.choose_seconds = choose_seconds;
    answers.seconds += choose_seconds + answers.build_seconds;
  }
  return answers;
}

/// Puts what was found in order of the real-valued outputs and keeps the first k.
void rerank(const Options& o, const Index& index, const Queries& queries, Answers& answers) {
  const auto start = Clock::now();
  retrieval::TopkResult candidates{queries.set.count(), std::max(o.rerank, o.k), {}, {}};
  candidates.rows.resize(std::size_t(candidates.queries * candidates.k), -1);
  for (std::size_t q = 0; q < answers.hits.size(); ++q) {
    const auto to = candidates.rows.begin() + std::ptrdiff_t(q) * candidates.k;
    std::ranges::transform(answers.hits[q], to, &Hit::row);
  }
  const retrieval::RealResult found =
      retrieval::rerank(candidates, queries.set.outputs, index.outputs(), index.bits(), o.k);
  for (std::size_t q = 0; q < answers.hits.size(); ++q) {
    answers.hits[q].clear();
    for (std::size_t i = q * std::size_t(o.k); i < (q + 1) * std::size_t(o.k); ++i) {
      if (found.rows[i] >= 0) answers.hits[q].push_back({found.rows[i], found.distances[i]});
    }
  }
  answers.real = true;
  answers.seconds += since(start);
}

void check_rerank(const Options& o, const Index& index, const Queries& queries) {
  HH_REQUIRE(!o.radius, "--rerank is for the k nearest, not for a radius");
  HH_REQUIRE(index.manifest().outputs,
             o.index << ": the index keeps no outputs to re-rank by; build it by index build "
                        "--keep-outputs");
  HH_REQUIRE(!queries.set.outputs.empty(),
             "re-ranking takes the outputs of a network for the queries: give --image, --list or "
             "--id, or codes that were encoded with --outputs");
}

Answers search(const Options& o, const Index& index, const Queries& queries, Device device) {
  std::optional<retrieval::RowMask> selected;
  if (!o.filters.empty()) selected = index.select(o.filters);
  const retrieval::RowMask* allowed = selected ? &*selected : index.allowed();
  Options first = o;
  if (o.rerank > 0) {
    check_rerank(o, index, queries);
    first.k = std::max(o.rerank, o.k);
  }
  Answers answers = o.method == "asymmetric" ? by_outputs(first, index, queries, allowed)
                                             : by_codes(first, index, queries, allowed, device);
  if (o.rerank > 0) rerank(o, index, queries, answers);
  return answers;
}

/// ids [queries, k] and distances, with -1 where there are fewer.
void write_arrays(const Options& o, const Index& index, const Answers& answers) {
  if (o.out.empty() && o.out_distances.empty()) return;
  HH_REQUIRE(!o.radius, "--out is for the k nearest; for a radius use --json");
  const auto queries = std::int64_t(answers.hits.size());
  std::vector<std::int64_t> ids(std::size_t(queries * o.k), -1);
  std::vector<float> distances(ids.size(), -1);
  for (std::size_t q = 0; q < answers.hits.size(); ++q) {
    for (std::size_t i = 0; i < answers.hits[q].size(); ++i) {
      const Hit& hit = answers.hits[q][i];
      ids[q * std::size_t(o.k) + i] = index.ids()[std::size_t(hit.row)];
      distances[q * std::size_t(o.k) + i] = hit.distance;
    }
  }
  const std::int64_t shape[] = {queries, o.k};
  if (!o.out.empty()) retrieval::write_npy<std::int64_t>(o.out, shape, ids);
  if (o.out_distances.empty()) return;
  if (answers.real) {
    retrieval::write_npy<float>(o.out_distances, shape, distances);
  } else {
    const std::vector<std::int32_t> whole(distances.begin(), distances.end());
    retrieval::write_npy<std::int32_t>(o.out_distances, shape, whole);
  }
}

/// Results in words: what a table, JSON and the page show.
class Report {
 public:
  Report(const Options& o, const Index& index, const Queries& queries, const Answers& answers)
      : options_(o), index_(index), queries_(queries), answers_(answers) {
    const auto &ours = queries.set.class_names, &theirs = index.manifest().class_names;
    comparable_ = queries.set.classes > 0 && index.manifest().classes > 0;
    if (comparable_ && !ours.empty() && !theirs.empty() && ours != theirs) {
      spdlog::warn("the queries' classes aren't those of the index; results aren't judged");
      comparable_ = false;
    }
  }

  nlohmann::ordered_json to_json(bool with_results) const {
    nlohmann::ordered_json all{{"index", options_.index},
                               {"items", index_.count()},
                               {"bits", index_.bits()},
                               {"queries", queries_.set.count()},
                               {"method", answers_.method}};
    if (options_.radius) {
      all["radius"] = *options_.radius;
    } else {
      all["k"] = options_.k;
    }
    if (options_.rerank > 0) all["rerank"] = options_.rerank;
    if (!options_.filters.empty()) all["filters"] = options_.filters;
    if (answers_.choice) all["choice"] = json_of(*answers_.choice);
    if (answers_.method == "multi-index") all["build_seconds"] = answers_.build_seconds;
    all["search_seconds"] = answers_.seconds;
    if (!with_results) return all;
    all["results"] = nlohmann::ordered_json::array();
    for (std::int64_t q = 0; q < queries_.set.count(); ++q) all["results"].push_back(json_of(q));
    return all;
  }

  void print_table() const {
    constexpr std::int64_t kMostQueries = 20;
    for (std::int64_t q = 0; q < std::min(queries_.set.count(), kMostQueries); ++q) print_query(q);
    if (queries_.set.count() > kMostQueries) {
      fmt::print("... and {} more queries: --json, --out and --html have them all\n",
                 queries_.set.count() - kMostQueries);
    }
    fmt::print("{} queries in {} items of {} bits by {}: {:.4g} s\n", queries_.set.count(),
               index_.count(), index_.bits(), method_text(), answers_.seconds);
  }

  Gallery gallery() const {
    Gallery gallery;
    gallery.title = "HybridHash search";
    gallery.facts.push_back(
        fmt::format("{}: {} items of {} bits, {}, by {} in {:.3g} s", options_.index,
                    index_.count(), index_.bits(),
                    options_.radius ? fmt::format("all within distance {}", *options_.radius)
                                    : fmt::format("the {} nearest", options_.k),
                    method_text(), answers_.seconds));
    for (const std::string& filter : options_.filters) {
      gallery.facts.push_back("only " + filter);
    }
    ThumbnailSource pictures = options_.pictures;
    // Items of a folder are named by their paths within it.
    pictures.other_root = index_.manifest().source;
    Thumbnails thumbnails(pictures);
    for (std::int64_t q = 0; q < queries_.set.count(); ++q) {
      GalleryQuery query;
      query.item = {queries_.set.name(q), label_of_query(q),
                    retrieval::code_to_bits(queries_.set.codes, q),
                    thumbnails.of(queries_.set.name(q))};
      for (const Hit& hit : answers_.hits[std::size_t(q)]) {
        const retrieval::IndexItem item = index_.item(hit.row);
        query.results.push_back(
            {{name_of(item), labels_text(item.description.labels),
              retrieval::code_to_bits(index_.codes(), hit.row), thumbnails.of(name_of(item))},
             item.id,
             hit.distance,
             same_class(q, item.description.labels)});
      }
      gallery.queries.push_back(std::move(query));
    }
    return gallery;
  }

 private:
  static std::string name_of(const retrieval::IndexItem& item) {
    return item.description.path.empty() ? fmt::format("#{}", item.id) : item.description.path;
  }

  std::string method_text() const {
    std::string text = answers_.method + (answers_.choice ? " (chosen)" : "");
    if (options_.rerank > 0) text += fmt::format(", {} re-ranked by outputs", options_.rerank);
    return text;
  }

  /// Seconds that were expected of each way.
  nlohmann::ordered_json json_of(const retrieval::SearchEstimate& estimate) const {
    nlohmann::ordered_json json{{"choose_seconds", answers_.choose_seconds},
                                {"measured", estimate.measured}};
    if (!estimate.measured) return json;
    json["scan_estimate"] = estimate.scan;
    json["build_estimate"] = estimate.build;
    json["lookups_estimate"] = estimate.lookups;
    return json;
  }

  nlohmann::ordered_json distance_of(const Hit& hit) const {
    if (answers_.real) return hit.distance;
    return int(hit.distance);
  }

  std::string labels_text(const std::vector<int>& labels) const {
    std::string text;
    for (const int c : labels) text += (text.empty() ? "" : ", ") + index_.class_name(c);
    return text;
  }

  std::string label_of_query(std::int64_t q) const {
    std::string text;
    const auto& names = queries_.set.class_names;
    for (int c = 0; c < queries_.set.classes; ++c) {
      if (!queries_.set.label_view().has(q, c)) continue;
      text += (text.empty() ? "" : ", ") +
              (names.empty() ? index_.class_name(c) : names[std::size_t(c)]);
    }
    return text;
  }

  std::optional<bool> same_class(std::int64_t q, const std::vector<int>& labels) const {
    if (!comparable_ || labels.empty() || label_of_query(q).empty()) return std::nullopt;
    return std::any_of(labels.begin(), labels.end(), [&](int c) {
      return c < queries_.set.classes && queries_.set.label_view().has(q, c);
    });
  }

  nlohmann::ordered_json json_of(std::int64_t q) const {
    nlohmann::ordered_json results = nlohmann::ordered_json::array();
    for (const Hit& hit : answers_.hits[std::size_t(q)]) {
      const retrieval::IndexItem item = index_.item(hit.row);
      nlohmann::ordered_json result{{"id", item.id}, {"distance", distance_of(hit)}};
      if (!item.description.path.empty()) result["path"] = item.description.path;
      if (!item.description.labels.empty()) {
        result["labels"] = nlohmann::ordered_json::array();
        for (const int c : item.description.labels) {
          result["labels"].push_back(index_.class_name(c));
        }
      }
      if (!item.description.metadata.empty()) {
        result["metadata"] = nlohmann::ordered_json::parse(item.description.metadata);
      }
      if (const auto same = same_class(q, item.description.labels)) result["same_class"] = *same;
      results.push_back(std::move(result));
    }
    return {{"query", queries_.set.name(q)},
            {"code", retrieval::code_to_hex(queries_.set.codes, q)},
            {"results", std::move(results)}};
  }

  void print_query(std::int64_t q) const {
    const std::string label = label_of_query(q);
    fmt::print("{}{}  {}\n", queries_.set.name(q), label.empty() ? "" : " (" + label + ")",
               retrieval::code_to_hex(queries_.set.codes, q));
    const auto& hits = answers_.hits[std::size_t(q)];
    if (hits.empty()) fmt::print("  nothing found\n");
    std::vector<retrieval::IndexItem> items;
    std::size_t width = 5;
    for (const Hit& hit : hits) {
      items.push_back(index_.item(hit.row));
      width = std::max(width, labels_text(items.back().description.labels).size());
    }
    if (!hits.empty()) {
      fmt::print("  {:>4}  {:>10}  {:>8}  {:<{}}  {}\n", "rank", "id", "distance", "label", width,
                 "path");
    }
    for (std::size_t i = 0; i < hits.size(); ++i) {
      const auto same = same_class(q, items[i].description.labels);
      fmt::print("  {:>4}  {:>10}  {:>8.6g}  {:<{}}  {}{}\n", i + 1, items[i].id, hits[i].distance,
                 labels_text(items[i].description.labels), width, items[i].description.path,
                 same && !*same ? "  (other class)" : "");
    }
  }

  const Options& options_;
  const Index& index_;
  const Queries& queries_;
  const Answers& answers_;
  bool comparable_ = false;
};

void run(const Options& o) {
  const Device device = o.compute.apply();
  const Index index = Index::open(o.index);
  const Queries queries = read_queries(o, index, device);
  const Answers answers = search(o, index, queries, device);
  write_arrays(o, index, answers);
  const Report report(o, index, queries, answers);
  if (!o.html.empty()) {
    constexpr std::int64_t kMostQueries = 200;
    HH_REQUIRE(queries.set.count() <= kMostQueries,
               "a page for " << queries.set.count() << " queries; take some by --sample");
    write_file_atomically(o.html, to_html(report.gallery()));
  }
  if (o.json) {
    // Programs that take the arrays need no second copy of them.
    const auto json = report.to_json(o.out.empty());
    fmt::print("{}\n", json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return;
  }
  report.print_table();
  if (!o.html.empty()) fmt::print("page: {}\n", o.html);
}

}  // namespace

void add_search(CLI::App& program) {
  auto o = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("search", "Find the nearest items of an index");
  command->add_option("--index", o->index, "folder of the index")->required();
  command->add_option("--image", o->images, "search by images; needs --model");
  command->add_option("--list", o->list, "search by all images of a list; needs --model");
  command->add_option("--model", o->model, "the model that made the index's codes")
      ->check(CLI::ExistingFile);
  command->add_option("--code", o->code_texts,
                      "search by codes: hexadecimal, byte 0 first, or all bits, bit 0 first");
  command->add_option("--id", o->ids, "search by items of the index")->delimiter(',');
  command->add_option("--codes", o->codes, "search by all codes of a file, as index build takes");
  command->add_option("--sample", o->sample, "only so many of the queries, drawn at random")
      ->check(CLI::PositiveNumber);
  command->add_option("--seed", o->seed, "of --sample")->capture_default_str();
  command->add_option("-k", o->k, "how many")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 32))
      ->capture_default_str();
  command->add_option("--radius", o->radius, "all within this distance, in place of the k nearest")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--filter", o->filters,
                      "only items that pass: label=cat, path~holiday/*, id>=100, year<2020");
  command->add_flag("--exclude-self", o->exclude_self, "with --id: leave out the item itself");
  command
      ->add_option(
          "--method", o->method,
          "scan; multi-index: the same answers, by tables that pay off for very many queries; "
          "auto: "
          "whichever of them this machine is measured to finish first; asymmetric: by the queries' "
          "real-valued outputs")
      ->check(CLI::IsMember({"auto", "scan", "multi-index", "asymmetric"}))
      ->capture_default_str();
  command
      ->add_option("--rerank", o->rerank,
                   "put so many of the nearest in order of the network's real-valued outputs and "
                   "take the k first; for an index built with --keep-outputs")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 32));
  command->add_flag("--json", o->json, "print one line of JSON");
  command->add_option("--out", o->out,
                      "write the ids, int64 [queries, k], -1 where there are fewer");
  command->add_option("--out-distances", o->out_distances,
                      "write the distances, int32 (asymmetric: float32) [queries, k]");
  command->add_option("--html", o->html, "write a page with pictures");
  command->add_option("--protocol", o->pictures.protocol,
                      "data set of the pictures, if items are of one (Fashion-MNIST is found)");
  command->add_option("--data", o->pictures.data, "its folder");
  command->add_option("--image-root", o->pictures.image_root, "what relative paths start from");
  command->add_option("--batch", o->encoder.batch, "images at once, when encoding")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command->add_option("--workers", o->encoder.workers, "threads that read images")
      ->check(CLI::Range(0, 256))
      ->capture_default_str();
  command->add_flag("--skip-bad", o->encoder.skip_bad, "leave out images that can't be read");
  command->add_option("--dtype", o->dtype, "f32 or bf16, when encoding")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  o->compute.add_to(*command);
  add_examples(
      *command,
      "  hybridhash search --index photos.index --model best.safetensors --image cat.jpg\n"
      "  hybridhash search --index photos.index --id 17 -k 20 --exclude-self --html p.html\n"
      "  hybridhash search --index photos.index --code 0fa31b22 --radius 2\n"
      "  hybridhash search --index db.index --codes q.npy -k 100 --out r.npy --json\n");
  command->callback([o] { run(*o); });
}

}  // namespace hh::apps

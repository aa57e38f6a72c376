// SPDX-License-Identifier: Apache-2.0
// hybridhash search: the items of an index, or of a collection of another server, whose codes are nearest to those
// of queries.
#include <fmt/format.h>

#include "apps/commands/command.h"
#include "apps/commands/engine_options.h"
#include "apps/commands/outputs.h"
#include "apps/commands/search_engine.h"
#include "apps/commands/search_queries.h"
#include "apps/report/provenance.h"
#include "apps/report/search_report.h"
#include "apps/terminal/shown_text.h"
#include "engine/files/file.h"
#include "retrieval/search/index_search.h"

namespace hh::apps {
namespace {

constexpr std::int64_t kMost = 100'000'000;  // results of a query, and queries

struct Options {
  std::string index, dtype = "f32", method = "auto", html, out, out_distances;
  EngineOptions engine;
  QueryOptions queries;
  retrieval::SearchRequest request;
  bool json = false;
  ComputeOptions compute;
  ThumbnailSource pictures;
};

/// Writes and prints what was found.
void show(const Options& o, const Searched& searched, const Queries& queries,
          const retrieval::SearchAnswer& answer) {
  const SearchReport report(searched, queries.set, o.request, answer);
  report.write_arrays(o.out, o.out_distances);
  if (!o.html.empty()) {
    constexpr std::int64_t kMostQueries = 200;
    HH_REQUIRE(queries.set.count() <= kMostQueries,
               "a page for " << queries.set.count() << " queries: use at most " << kMostQueries
                             << ", some of them by --sample");
    ThumbnailSource pictures = o.pictures;
    pictures.exif_orientation = queries.exif_orientation;
    if (o.queries.max_pixels > 0) pictures.max_pixels = std::int64_t(o.queries.max_pixels * 1e6);
    Gallery gallery = report.gallery(pictures, !o.queries.images.empty());
    const std::string& model = searched.about().model_hash;
    gallery.facts.push_back("model " + (model.empty() ? "unknown" : model) + ", " + made_by());
    write_file_atomically(o.html, to_html(gallery));
  }
  if (o.json) {
    // Programs that take the arrays need no second copy of them.
    const auto json = report.to_json(o.out.empty());
    fmt::print("{}\n", shown_json(json));
    return;
  }
  report.print_table();
  if (!o.html.empty()) say("page: {}\n", o.html);
}

void check_radius(const Options& o, int bits, const char* where) {
  HH_REQUIRE(!o.request.radius || *o.request.radius <= bits,
             "--radius: " << *o.request.radius << ": codes of this " << where
                          << " differ in at most " << bits << " bits; use 0 to " << bits);
}

void search_engine(const Options& o, Device device) {
  const retrieval::CollectionPlace place = o.engine.place();
  const auto collection = retrieval::open_collection(place);
  const auto about = collection->about();
  HH_REQUIRE(about.has_value(), "there is no collection " << place.collection << " in "
                                                          << collection->server()
                                                          << "; hybridhash index push makes one");
  check_radius(o, about->bits, "collection");
  FoundInCollection found(*collection, place.collection, *about);
  const Queries queries = read_queries(
      o.queries, *about,
      [&](const std::vector<std::int64_t>& ids, Queries& to) { found.add_items(ids, to); }, device);
  found.search(queries, !o.queries.ids.empty(), o.request);
  show(o, found, queries, found.answer());
}

void search_index(const Options& o, Device device) {
  using retrieval::SearchMethod;
  const auto index = retrieval::Index::open(o.index);
  check_radius(o, index.bits(), "index");
  const Queries queries = read_queries(o.queries, index, device);
  // The codes aren't copied to a GPU that won't scan them.
  const bool scans =
      o.request.method == SearchMethod::kAuto || o.request.method == SearchMethod::kScan;
  const retrieval::IndexSearch search(index, scans ? device : kCpu);
  const retrieval::SearchAnswer answer =
      search.run({.codes = queries.set.codes, .outputs = queries.set.outputs, .rows = queries.rows},
                 o.request);
  show(o, *searched_index(index), queries, answer);
}

void run(Options o, const Command& command) {
  HH_REQUIRE(o.index.empty() == o.engine.given(),
             "where to search? Give --index, or --engine and --collection");
  if (o.engine.given()) {
    for (const char* const option : {"--method", "--rerank"}) {
      HH_REQUIRE(command.count(option) == 0,
                 option << " is for --index: an engine searches in its own way, by the codes");
    }
  }
  std::vector<NamedPath> inputs =
      inputs_of(o.queries.model, {.list = o.queries.list, .files = o.queries.images});
  inputs.push_back({"--codes", o.queries.codes});
  check_output_files({{"--out", o.out}, {"--out-distances", o.out_distances}, {"--html", o.html}},
                     inputs);
  // An engine searches where it is: without images to encode nothing computes here.
  const bool encodes = !o.queries.images.empty() || !o.queries.list.empty();
  const Device device = o.engine.given() && !encodes ? kCpu : o.compute.apply();
  o.queries.type = network_type(o.dtype);
  o.queries.image_root = o.pictures.image_root;
  o.request.method = retrieval::search_method_named(o.method);
  o.engine.given() ? search_engine(o, device) : search_index(o, device);
}

}  // namespace

void add_search(Command program) {
  auto o = std::make_shared<Options>();
  Command command =
      program.add_subcommand("search", "Find the nearest items of an index or a collection");
  Option index = command.add_option("--index", o->index, "folder of the index");
  o->engine.add_to(command, /*required=*/false);
  index.excludes(command.get_option("--engine"));
  command.add_option("--image", o->queries.images, "search by images; needs --model");
  command.add_option("--list", o->queries.list, "search by all images of a list; needs --model");
  command.add_option("--model", o->queries.model, "the model that made the index's codes")
      .check(existing_file());
  command.add_option("--code", o->queries.code_texts,
                     "search by codes: hexadecimal, byte 0 first, or all bits, bit 0 first");
  command.add_option("--id", o->queries.ids, "search by items of the index")
      .check(within(std::int64_t{0}, kLargestId))
      .delimiter(',');
  command.add_option("--codes", o->queries.codes,
                     "search by all codes of a file, as index build takes");
  add_code_format(command, o->queries.code_format);
  command.add_option("--sample", o->queries.sample, "only so many of the queries, drawn at random")
      .check(within(std::int64_t{1}, kMost));
  command.add_option("--seed", o->queries.seed, "of --sample")
      .check(within(std::uint64_t{0}, std::numeric_limits<std::uint64_t>::max()))
      .capture_default_str();
  command.add_option("-k", o->request.k, "how many")
      .check(within(std::int64_t{1}, kMost))
      .capture_default_str();
  command
      .add_option("--radius", o->request.radius,
                  "all within this distance, in place of the k nearest")
      .check(within(0, retrieval::kMaxBits));
  command.add_option("--filter", o->request.filters,
                     "only items that pass: label=cat, path~holiday/*, id>=100, year<2020");
  command.add_flag("--exclude-self", o->request.exclude_self,
                   "with --id: leave out the item itself");
  command
      .add_option(
          "--method", o->method,
          "scan; multi-index: the same answers, by tables that pay off for very many queries; "
          "auto: "
          "whichever of them this machine is measured to finish first; asymmetric: by the queries' "
          "real-valued outputs")
      .one_of({"auto", "scan", "multi-index", "asymmetric"})
      .capture_default_str();
  command
      .add_option("--rerank", o->request.rerank,
                  "put so many of the nearest in order of the network's real-valued outputs and "
                  "take the k first; for an index built with --keep-outputs")
      .check(within(std::int64_t{1}, kMost));
  command.add_flag("--json", o->json, "print one line of JSON");
  command.add_option("--out", o->out,
                     "write the ids, int64 [queries, k], -1 where there are fewer");
  command.add_option("--out-distances", o->out_distances,
                     "write the distances, int32 (asymmetric: float32) [queries, k]");
  command.add_option("--html", o->html, "write a page with pictures");
  command.add_option("--protocol", o->pictures.protocol,
                     "data set of the pictures, if items are of one (Fashion-MNIST is found)");
  command.add_option("--data", o->pictures.data, "its folder");
  command.add_option("--image-root", o->pictures.image_root, "what relative paths start from");
  add_batches(command, o->queries.encoder.batch, o->queries.encoder.workers,
              "images at once, when encoding");
  add_max_pixels(command, o->queries.max_pixels);
  command.add_flag("--skip-bad", o->queries.encoder.skip_bad,
                   "leave out images that can't be read");
  command.add_option("--dtype", o->dtype, "f32, bf16 or int8 (on a CPU), when encoding")
      .one_of({"f32", "bf16", "int8"})
      .capture_default_str();
  add_mix_int8(command, o->queries.mix_int8);
  o->compute.add_to(command);
  add_examples(
      command,
      "  hybridhash search --index photos.index --model best.safetensors --image cat.jpg\n"
      "  hybridhash search --index photos.index --id 17 -k 20 --exclude-self --html p.html\n"
      "  hybridhash search --index photos.index --code 0fa31b22 --radius 2\n"
      "  hybridhash search --index db.index --codes q.npy -k 100 --out r.npy --json\n"
      "  hybridhash search --engine postgres postgresql://me@db/photos --collection photos --id "
      "17\n");
  command.callback([o, command] { run(*o, command); });
}

}  // namespace hh::apps

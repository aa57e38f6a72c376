// SPDX-License-Identifier: Apache-2.0
// hybridhash index push and pull: an index's items in a collection of a server of others, and back.
#include "pipeline/index_push.h"

#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/commands/command.h"
#include "apps/commands/engine_options.h"
#include "apps/commands/index_follow.h"
#include "apps/commands/outputs.h"
#include "apps/terminal/elapsed.h"
#include "apps/terminal/progress_bar.h"
#include "apps/terminal/shown_text.h"
#include "engine/files/file_error.h"
#include "engine/text/counted.h"
#include "engine/text/utf8.h"

namespace hh::apps {
namespace {

using nlohmann::ordered_json;

struct Options {
  std::string index, out, format;
  EngineOptions engine;
  double wait_seconds = retrieval::kWriterWaitSeconds;
  bool full = false, overwrite = false, json = false;
};

using Clock = std::chrono::steady_clock;

/// "200,000 codes/s" is what an engine is judged by.
std::string codes_text(double seconds, std::int64_t codes) {
  return fmt::format("{} ({:.0f} codes/s)", duration_text(seconds),
                     double(codes) / std::max(seconds, 1e-9));
}

/// Runs a command; where a signal ended a wait of it, that is why it ends.
void stoppable(void (*run)(const Options&), const Options& o, const char* then) {
  try {
    run(o);
  } catch (const TryAgain&) {
    if (!stop_requested()) throw;
    terminal_listener().warn(std::string("stopped; ") + then);
    throw Stopped{stop_signal()};
  }
}

void push(const Options& o) {
  catch_stop_signals();
  const auto start = Clock::now();
  const pipeline::Listener listener = terminal_listener();
  const retrieval::IndexManifest manifest = retrieval::read_index_manifest(o.index);
  const auto collection = retrieval::open_collection(o.engine.place(), stop_requested);
  const std::string server = collection->server();
  pipeline::PushOutcome done;
  // Nothing to do is found without reading the index, whose codes may be many.
  std::optional<retrieval::CollectionAbout> about;
  if (!o.overwrite) about = collection->about();
  done.nothing = about && !o.full && pipeline::is_pushed(manifest, *about);
  std::int64_t items = manifest.rows() - manifest.deleted;
  std::int64_t generation = manifest.generation;
  if (!done.nothing) {
    const auto index = retrieval::Index::open(o.index);
    items = index.count();
    generation = index.manifest().generation;
    done = pipeline::push(index, *collection,
                          {.full = o.full,
                           .overwrite = o.overwrite,
                           .wait_seconds = o.wait_seconds,
                           .stop = stop_requested,
                           .listener = listener});
  }
  const double seconds = seconds_since(start);
  const std::string& name = o.engine.place().collection;
  if (o.json) {
    const ordered_json json{{"collection", name},
                            {"server", server},
                            {"made", done.made},
                            {"put", done.put},
                            {"removed", done.removed},
                            {"items", items},
                            {"generation", generation},
                            {"done", !done.stopped},
                            {"seconds", seconds},
                            {"codes_per_second", double(done.put) / std::max(seconds, 1e-9)}};
    fmt::print("{}\n", shown_json(json));
  } else if (done.nothing) {
    say("{}: nothing to do; it has {} of {}\n", name, counted(items, "item"), o.index);
  } else if (!done.stopped) {
    say("{}: {} put, {} removed; it has {} of {} in {}; {}\n", name, done.put, done.removed,
        counted(items, "item"), o.index, server, codes_text(seconds, done.put));
  }
  if (!done.stopped) return;
  listener.warn("stopped; what was put lasts, and the same command goes on");
  throw Stopped{stop_signal()};
}

void pull(const Options& o) {
  HH_REQUIRE(o.out.empty() != o.index.empty(),
             "where to? Give --out FILE, or --index FOLDER for a new index");
  const std::string& place = o.out.empty() ? o.index : o.out;
  if (o.out.empty()) {
    check_output_folder({"--index", place}, {});
    HH_REQUIRE(!std::filesystem::exists(place) || std::filesystem::is_empty(place),
               place << " exists already; choose another name");
  } else {
    check_output_files({{"--out", place}}, {});
  }
  catch_stop_signals();
  const auto start = Clock::now();
  const pipeline::Listener listener = terminal_listener();
  std::optional<retrieval::ItemFormat> format;
  if (!o.out.empty()) format = retrieval::item_format(o.format, o.out);
  const auto collection = retrieval::open_collection(o.engine.place(), stop_requested);
  const std::int64_t count = pipeline::pull(*collection, place, format, listener, stop_requested);
  if (count < 0) {
    listener.warn("stopped; nothing was written");
    throw Stopped{stop_signal()};
  }
  const double seconds = seconds_since(start);
  if (o.json) {
    const ordered_json json{{"collection", o.engine.place().collection},
                            {"server", collection->server()},
                            {"items", count},
                            {"out", as_utf8(place)},
                            {"seconds", seconds}};
    fmt::print("{}\n", shown_json(json));
    return;
  }
  say("{}: {} of {}; {}\n", place, counted(count, "item"), o.engine.place().collection,
      codes_text(seconds, count));
}

}  // namespace

void add_index_push(Command index) {
  auto o = std::make_shared<Options>();
  Command sub = index.add_subcommand("push", "Bring a collection of another server up to date");
  sub.add_option("index,--index", o->index, "folder of the index").required();
  o->engine.add_to(sub, /*required=*/true);
  const Option full =
      sub.add_flag("--full", o->full,
                   "put all items, and remove those that the index hasn't, whatever was "
                   "pushed before; else what changed since the last push");
  sub.add_flag("--overwrite", o->overwrite,
               "remove the collection first, also one of another model")
      .excludes(full);
  sub.add_option("--wait", o->wait_seconds,
                 "seconds to wait for another program that changes the collection")
      .check(within(0.0, 86400.0))
      .capture_default_str();
  sub.add_flag("--json", o->json, "print one line of JSON");
  add_examples(sub,
               "  hybridhash index push photos.index --engine postgres postgresql://me@db/photos "
               "--collection photos\n");
  sub.callback([o] { stoppable(push, *o, "the same command goes on from there"); });
}

void add_index_pull(Command index) {
  auto o = std::make_shared<Options>();
  Command sub = index.add_subcommand(
      "pull", "Write the items of such a collection to a file, or make an index of them");
  o->engine.add_to(sub, /*required=*/true);
  sub.add_option("--out", o->out,
                 "file to write; what it can't hold, as a code file metadata, is left out");
  sub.add_option(
      "--index", o->index,
      "or folder of a new index, with all that the collection has: class names and model "
      "too");
  sub.add_option("--format", o->format,
                 std::string(retrieval::kItemFormats) +
                     "; otherwise by the file's ending (metadata are in csv, pgvector and milvus)");
  sub.add_flag("--json", o->json, "print one line of JSON");
  add_examples(sub,
               "  hybridhash index pull --engine postgres postgresql://me@db/photos --collection "
               "photos --index photos.index\n");
  sub.callback([o] { stoppable(pull, *o, "nothing was written"); });
}

}  // namespace hh::apps

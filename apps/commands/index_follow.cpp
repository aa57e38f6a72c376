// SPDX-License-Identifier: Apache-2.0
// hybridhash index sync and reencode: an index follows folders, or another model.
#include "apps/commands/index_follow.h"

#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <optional>

#include "apps/commands/command.h"
#include "apps/commands/outputs.h"
#include "apps/terminal/elapsed.h"
#include "apps/terminal/progress_bar.h"
#include "apps/terminal/shown_text.h"
#include "engine/text/counted.h"
#include "pipeline/index_sync.h"
#include "pipeline/reencode.h"
#include "retrieval/index/snapshot.h"

namespace hh::apps {
namespace {

struct Options {
  std::string index, model, image_root, dtype = "f32";
  std::vector<std::string> folders;
  pipeline::EncoderOptions encoder;
  double max_pixels = 0;
  ComputeOptions compute;
  bool class_folders = false, keep_outputs = false, dry_run = false, allow_empty = false,
       skip_gone = false;
};

std::unique_ptr<pipeline::Model> load(const Options& o) {
  const Device device = o.compute.apply();
  return pipeline::load_model(o.model, device, network_type(o.dtype));
}

void print_plan(const pipeline::SyncPlan& plan) {
  for (const pipeline::SyncFile& file : plan.encode) {
    say("{}  {}\n", file.id < 0 ? "new    " : "changed", file.path);
  }
  for (const pipeline::SyncFile& file : plan.describe) {
    if (file.moved_from.empty()) {
      say("touched  {}\n", file.path);
    } else {
      say("moved    {} -> {}\n", file.moved_from, file.path);
    }
  }
  for (const auto& [id, path] : plan.gone) say("gone     {}\n", path);
  say("{} new, {} changed, {} moved, {} gone, {} as they were; nothing was done\n",
      plan.count_new(), std::int64_t(plan.encode.size()) - plan.count_new(), plan.count_moved(),
      plan.gone.size(), plan.same);
}

void sync(const Options& o) {
  HH_REQUIRE(o.dry_run || !o.model.empty(), "--model: which network makes the codes?");
  check_output_folder({"--index", o.index}, {{"--model", o.model}});
  catch_stop_signals();
  const pipeline::Listener listener = terminal_listener();
  const pipeline::SyncRoots roots = pipeline::sync_roots(o.folders, o.image_root, o.index);
  std::error_code ignored;
  std::optional<retrieval::Index> index;
  if (std::filesystem::exists(o.index, ignored)) index.emplace(retrieval::Index::open(o.index));
  const pipeline::SyncPlan plan = pipeline::plan_sync(index ? &*index : nullptr, roots,
                                                      o.class_folders, o.allow_empty, listener);
  if (index && !o.dry_run) retrieval::check_is_no_snapshot(o.index);
  index.reset();
  for (const std::string& warning : plan.warnings) listener.warn(warning);
  if (o.dry_run) {
    print_plan(plan);
    return;
  }
  std::unique_ptr<pipeline::Model> model;
  const auto loaded = [&]() -> const pipeline::Model& {
    if (!model) model = load(o);
    return *model;
  };
  pipeline::SyncOptions options{
      .index = o.index, .encoder = o.encoder, .max_pixels = o.max_pixels, .stop = stop_requested};
  options.encoder.keep_outputs = o.keep_outputs;
  options.encoder.listener = listener;
  const auto start = std::chrono::steady_clock::now();
  const pipeline::SyncOutcome done = pipeline::apply_sync(plan, roots, options, loaded);
  const double seconds = seconds_since(start);
  std::string text =
      fmt::format("{}: {} new, {} changed, {} moved, {} gone, {} as they were", o.index, done.added,
                  done.changed, done.moved, done.gone, plan.same + done.touched);
  if (done.bad > 0) text += fmt::format(", {} can't be read", done.bad);
  const std::int64_t encoded = done.added + done.changed;
  if (encoded > 0) text += "; " + speed_text(seconds, encoded);
  say("{}\n", text);
  if (!done.stopped) return;
  listener.warn("stopped; what was done lasts, and the same command goes on");
  throw Stopped{stop_signal()};
}

void reencode(const Options& o) {
  catch_stop_signals();
  const auto model = load(o);
  pipeline::ReencodeOptions options{.index = o.index,
                                    .image_root = o.image_root,
                                    .encoder = o.encoder,
                                    .max_pixels = o.max_pixels,
                                    .skip_gone = o.skip_gone,
                                    .stop = stop_requested};
  options.encoder.listener = terminal_listener();
  const pipeline::ReencodeOutcome done = pipeline::reencode(*model, options);
  if (done.stopped) {
    options.encoder.listener.warn("stopped; the index is as it was");
    throw Stopped{stop_signal()};
  }
  say("{}: {} of the model {} now{}\n", o.index, counted(done.items, "item"), model->hash,
      done.left_out > 0 ? fmt::format("; {} left out", done.left_out) : "");
}

void add_encoder_options(Command command, Options& o) {
  add_max_pixels(command, o.max_pixels);
  add_batches(command, o.encoder.batch, o.encoder.workers);
  command.add_option("--dtype", o.dtype, "f32, bf16 or int8 (on a CPU)")
      .one_of({"f32", "bf16", "int8"})
      .capture_default_str();
  o.compute.add_to(command);
}

}  // namespace

void add_index_sync(Command index) {
  auto o = std::make_shared<Options>();
  o->encoder.batch = 64;
  Command command =
      index.add_subcommand("sync", "Follow folders: add, move and delete as their files did");
  command.add_option("folders", o->folders, "folders of images, at any depth").required();
  command.add_option("--index", o->index, "folder of the index; made if it isn't there").required();
  command.add_option("--model", o->model, "model that makes the codes").check(existing_file());
  command.add_flag("--class-folders", o->class_folders,
                   "the folders in each of them are the images' classes");
  command.add_option("--image-root", o->image_root,
                     "what the paths in the index start from; otherwise the folder itself, what "
                     "several have in common, or as before");
  command.add_flag("--dry-run", o->dry_run, "say what would be done, file by file");
  command.add_flag("--allow-empty", o->allow_empty,
                   "delete all items of a folder that holds no image any more");
  command.add_flag("--keep-outputs", o->keep_outputs,
                   "of a new index: keep the network's outputs too, for search --rerank");
  add_encoder_options(command, *o);
  add_examples(command,
               "  hybridhash index sync photos --index photos.index --model best.safetensors\n"
               "  hybridhash index sync photos scans --index all.index --model best.safetensors "
               "--dry-run\n");
  command.callback([o] { sync(*o); });
}

void add_index_reencode(Command index) {
  auto o = std::make_shared<Options>();
  o->encoder.batch = 64;
  Command command = index.add_subcommand(
      "reencode", "Make all codes anew by another model, beside the index, and put them in place");
  command.add_option("index,--index", o->index, "folder of the index").required();
  command.add_option("--model", o->model, "the new model").required().check(existing_file());
  command.add_option("--image-root", o->image_root,
                     "what the items' paths start from; otherwise as at the last sync, or here");
  command.add_flag("--skip-gone", o->skip_gone,
                   "leave out items whose files are gone or can't be read");
  add_encoder_options(command, *o);
  add_examples(command, "  hybridhash index reencode photos.index --model new.safetensors\n");
  command.callback([o] { reencode(*o); });
}

}  // namespace hh::apps

// SPDX-License-Identifier: Apache-2.0
// hybridhash dataset: what a data set holds, before anyone trains on it.
#include <fmt/format.h>

#include "apps/commands/command.h"
#include "apps/terminal/progress_bar.h"
#include "apps/terminal/shown_text.h"
#include "engine/text/utf8.h"
#include "pipeline/dataset_check.h"
#include "pipeline/experiment.h"

namespace hh::apps {
namespace {

struct Options {
  std::string recipe, protocol, data, image_root, split, content = "decoded", list_labels = "auto";
  std::vector<std::string> settings;
  double max_pixels = 0;
  int threads = 0;
  bool json = false, allow_changed_data = false;
};

/// A TOML string, whatever the path holds.
std::string setting(const std::string& key, const std::string& value) {
  std::string text = key + "=\"";
  for (const char c : as_utf8(value)) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      text += fmt::format("\\u{:04x}", c);
      continue;
    }
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text + "\"";
}

void check(const Options& o) {
  use_threads(o.threads);
  std::vector<std::string> settings;
  if (!o.protocol.empty()) settings.push_back(setting("data.protocol", o.protocol));
  if (!o.data.empty()) settings.push_back(setting("data.path", o.data));
  if (!o.image_root.empty()) settings.push_back(setting("data.image_root", o.image_root));
  if (o.list_labels != "auto") settings.push_back(setting("data.list_labels", o.list_labels));
  if (o.max_pixels > 0) settings.push_back(fmt::format("data.max_pixels={}", o.max_pixels));
  settings.insert(settings.end(), o.settings.begin(), o.settings.end());
  // Other counts are among what is reported.
  settings.push_back("data.allow_other_counts=true");
  HH_REQUIRE(!o.recipe.empty() || !o.protocol.empty(),
             "which data set? Give a recipe or --protocol (and --data)");
  const pipeline::Recipe recipe = pipeline::Recipe::read(o.recipe, settings);
  const data::Experiment experiment =
      pipeline::open_experiment(recipe, o.split, o.allow_changed_data);
  pipeline::DatasetCheck found =
      pipeline::check_dataset(experiment, pipeline::content_named(o.content), terminal_listener());
  pipeline::check_cache(found, experiment, recipe);
  if (o.json) {
    fmt::print("{}\n", shown_json(to_json(found)));
  } else {
    fmt::print("{}", shown_lines(to_text(found)));
  }
  if (!found.problems().empty()) throw Unsuccessful{};
}

}  // namespace

void add_dataset(Command program) {
  Command dataset = program.add_subcommand("dataset", "Look at a data set");
  dataset.require_subcommand();
  auto o = std::make_shared<Options>();
  Command command = dataset.add_subcommand(
      "check",
      "Look for images in two parts, repeated, missing or unlabelled ones, and other counts than "
      "the protocol's; exit status 1 when something is wrong");
  command.add_option("recipe", o->recipe, "the recipe whose data is checked")
      .check(existing_file());
  command.add_option("--protocol", o->protocol, "in place of a recipe: lists, folder, coco, ...");
  command.add_option("--data", o->data, "folder of the data");
  command.add_option("--image-root", o->image_root, "what relative paths in lists start from");
  add_list_labels(command, o->list_labels, false);
  add_allow_changed_data(command, o->allow_changed_data);
  command.add_option("--split", o->split, "split.json of a run; otherwise the recipe's")
      .check(existing_file());
  command.add_option("--set", o->settings, "key=value of the recipe, as data.split_seed=3")
      .take_all();
  command
      .add_option(
          "--content", o->content,
          "decoded: equal images are those of equal file bytes, and each is decoded; bytes: "
          "not decoded, faster, but damage isn't seen; pixels: equal pixels, so that copies "
          "in another format are found; none: files aren't read")
      .one_of({"decoded", "bytes", "pixels", "none"})
      .capture_default_str();
  add_max_pixels(command, o->max_pixels);
  command.add_option("--threads", o->threads, "CPU threads; 0: one per hardware thread")
      .check(within(0, pipeline::kMostThreads))
      .capture_default_str();
  command.add_flag("--json", o->json, "print one line of JSON");
  const std::string examples =
      "  hybridhash dataset check recipes/micro_fashion.toml\n"
      "  hybridhash dataset check --protocol lists --data lists --image-root photos --json\n";
  add_examples(command, examples);
  add_examples(dataset, examples);
  command.callback([o] { check(*o); });
}

}  // namespace hh::apps

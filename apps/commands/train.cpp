// SPDX-License-Identifier: Apache-2.0
// hybridhash train: a recipe to a run folder.
#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <span>
#include <vector>

#include "apps/commands/command.h"
#include "apps/commands/outputs.h"
#include "apps/report/training_plots.h"
#include "apps/terminal/progress_bar.h"
#include "apps/terminal/shown_text.h"
#include "engine/device/host_name.h"
#include "engine/distributed/ranks.h"
#include "engine/distributed/together.h"
#include "engine/files/xxh64.h"
#include "kernels/core/parallel.h"
#include "pipeline/training_run.h"

namespace hh::apps {
namespace {

struct Options {
  std::string recipe, out, resume;
  std::vector<std::string> settings;
  std::optional<std::string> profile_steps;
  std::string distributed = "auto";
  bool skip_bad = false, print_recipe = false, profile = false, allow_changed_data = false;
  ComputeOptions compute;
};

/// What each of several processes takes of its processors: its share of those that its launcher
/// bound it to, with others or alone. 0: all that it may use.
int share_of_threads(Communicator& all) {
  if (all.size() == 1) return 0;
  cpu_set_t bound;
  CPU_ZERO(&bound);
  ::sched_getaffinity(0, sizeof bound, &bound);
  Xxh64 sum;
  sum.update(host_name());
  sum.update(std::as_bytes(std::span(&bound, 1)));
  const auto own = std::int64_t(sum.value());
  const std::vector<std::int64_t> places = all.gather(std::span(&own, 1));
  const auto sharers = std::count(places.begin(), places.end(), own);
  cpu::set_num_threads(0);
  return sharers == 1 ? 0 : int(std::max<std::int64_t>(1, cpu::num_threads() / sharers));
}

/// The recipe's number of threads, where the command line leaves it open.
Device apply(const Options& o, const pipeline::Recipe& recipe, const Communicator& all, int share) {
  ComputeOptions compute = o.compute;
  compute.verbose = all.rank() == 0;  // a long run on the wrong device should show at its start
  if (compute.threads == 0) compute.threads = recipe.train.threads;
  if (compute.threads == 0 && std::getenv("HH_THREADS") == nullptr) compute.threads = share;
  if (all.size() > 1) compute.device = to_string(all.device());
  return compute.apply();
}

/// "3:12".
pipeline::ProfiledSteps parse_steps(const std::string& text) {
  pipeline::ProfiledSteps steps{0, 0};
  const char *at = text.data(), *const end = at + text.size();
  const auto number = [&](std::int64_t& value) {
    const auto [stop, error] = std::from_chars(at, end, value);
    at = stop;
    return error == std::errc{};
  };
  const bool read = number(steps.first) && at != end && *at++ == ':' && number(steps.last);
  HH_REQUIRE(read && at == end && steps.first >= 1 && steps.last >= steps.first,
             "--profile-steps '" << text
                                 << "': give FIRST:LAST, two numbers of steps from 1, as "
                                    "3:12");
  return steps;
}

pipeline::TrainingRun::Hooks hooks(const std::filesystem::path& folder, Communicator& all) {
  return {.stop = stop_requested,
          .epoch_ended =
              [folder](const pipeline::MetricsLog& log) { write_training_plots(folder, log); },
          .listener = terminal_listener(),
          .ranks = &all};
}

void finish(pipeline::TrainingRun run, const std::filesystem::path& folder,
            const std::optional<pipeline::ProfiledSteps>& profiled, bool tells) {
  catch_stop_signals();
  if (profiled && tells) run.profile(*profiled);
  if (!run.run()) {
    if (tells) say("continue with: hybridhash train --resume {}\n", folder.string());
    throw Stopped{stop_signal()};
  }
  if (!tells) return;
  fmt::print("{}", shown_lines(run.summary()));
  for (const auto& [file, what] :
       {std::pair("loss.svg", "plot of the loss"), std::pair("map.svg", "plot of the mAP")}) {
    if (std::filesystem::exists(folder / file)) say("  {:<26} {}\n", file, what);
  }
}

/// The folder of a new run, which must not be in the way of anything.
std::string new_folder(const Options& o, const pipeline::Recipe& recipe) {
  const std::string name =
      o.recipe.empty() ? "default" : std::filesystem::path(o.recipe).stem().string();
  const std::string folder = o.out.empty() ? "runs/" + name : o.out;
  const std::filesystem::path place = folder;
  check_output_files({{"--out", place}}, {});
  check_is_folder({"--out", place});
  // Of a folder that holds a run, TrainingRun says so, and how to continue it.
  if (!std::filesystem::exists(place / "recipe.toml")) {
    std::vector<NamedPath> inputs = inputs_of(recipe);
    inputs.push_back({"RECIPE", o.recipe});
    for (const char* file :
         {"best.safetensors", "last.safetensors", "best_by_query.safetensors", "split.json",
          "metrics.csv", "trace.json", "profile.tsv", "loss.svg", "map.svg"}) {
      check_output_files({{"--out", place / file}}, inputs);
    }
  }
  return folder;
}

/// Not by CLI11, before the ranks have met: each of them would say it.
void check_there(const std::string& given, const TextCheck& validator) {
  const std::string wrong = given.empty() ? "" : validator(given);
  HH_REQUIRE(wrong.empty(), wrong);
}

void run(const Options& o) {
  std::vector<std::string> settings = o.settings;
  if (o.skip_bad) settings.push_back("data.skip_bad=true");
  if (o.print_recipe) {
    check_there(o.recipe, existing_file());
    const pipeline::Recipe recipe = o.resume.empty()
                                        ? pipeline::Recipe::read(o.recipe, settings)
                                        : pipeline::TrainingRun::recipe_of(o.resume, settings);
    return fmt::print("{}", shown_lines(recipe.to_commented_toml()));
  }
  Communicator& all =
      join_ranks(choose_launcher(o.distributed, process_environment()), o.compute.device);
  const int share = share_of_threads(all);
  std::optional<pipeline::ProfiledSteps> profiled;
  pipeline::Recipe recipe;
  std::string folder = o.resume;
  Device device;
  together(all, [&] {
    check_there(o.recipe, existing_file());
    check_there(o.resume, existing_folder());
    if (o.profile) profiled.emplace();
    if (o.profile_steps) profiled = parse_steps(*o.profile_steps);
    if (!o.resume.empty()) {
      HH_REQUIRE(o.recipe.empty() && o.out.empty(), "--resume goes on with the recipe in "
                                                        << o.resume
                                                        << ": leave out RECIPE and --out");
      recipe = pipeline::TrainingRun::recipe_of(o.resume, settings);
    } else {
      recipe = pipeline::Recipe::read(o.recipe, settings);
      HH_REQUIRE(!o.recipe.empty() || !settings.empty(),
                 "no RECIPE: give one, as recipes/micro_fashion.toml, or --set some of its keys "
                 "(--print-recipe "
                 "shows them all)");
      folder = new_folder(o, recipe);
    }
    device = apply(o, recipe, all, share);
  });
  all.limit_wait(recipe.train.timeout_s);
  const bool tells = all.rank() == 0;
  const auto told = hooks(folder, all);
  if (o.resume.empty()) {
    return finish(pipeline::TrainingRun(recipe, folder, device, told), folder, profiled, tells);
  }
  finish(pipeline::TrainingRun::resume(recipe, folder, device, told, o.allow_changed_data), folder,
         profiled, tells);
}

}  // namespace

void add_train(Command program) {
  auto options = std::make_shared<Options>();
  Command command = program.add_subcommand("train", "Train a network by a recipe");
  command.add_option("recipe", options->recipe, "TOML file; see recipes/");
  command.add_option("--out", options->out, "folder of the run; runs/RECIPE if not given");
  command.add_option("--resume", options->resume, "continue the run in this folder, bit for bit");
  command.add_option("--set", options->settings, "key=value of the recipe, as train.epochs=3")
      .take_all();
  command.add_flag("--skip-bad", options->skip_bad,
                   "leave out images that are missing or broken; otherwise they end the run");
  command.add_flag("--print-recipe", options->print_recipe,
                   "print the whole recipe, each key with its meaning, and train nothing");
  command.add_flag("--profile", options->profile,
                   "time the kernels of steps 3 to 12 by layer, into trace.json and profile.tsv "
                   "of the run's folder");
  command.add_option("--profile-steps", options->profile_steps,
                     "FIRST:LAST, other steps to profile; the first of this process is 1");
  command
      .add_option("--distributed", options->distributed,
                  "train with the other processes that mpirun or srun started: auto, where one "
                  "of them did; off, mpi or env (docs/distributed.md)")
      .capture_default_str();
  add_allow_changed_data(command, options->allow_changed_data);
  options->compute.add_to(command);
  add_examples(
      command,
      "  hybridhash train recipes/micro_fashion.toml --out runs/mine\n"
      "  hybridhash train recipes/micro_fashion.toml --set model.bits=64 --set train.epochs=3\n"
      "  hybridhash train --resume runs/mine\n"
      "  hybridhash train recipes/micro_fashion.toml --out runs/profiled --profile-steps 100:109\n"
      "  mpirun -np 4 hybridhash train recipes/micro_fashion.toml --out runs/mine\n"
      "Ctrl-C saves and stops (exit status 130); a second Ctrl-C stops at once.\n");
  command.callback([options] { run(*options); });
}

}  // namespace hh::apps

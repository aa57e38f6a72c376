// SPDX-License-Identifier: Apache-2.0
// hybridhash eval: how good codes are, from two code files or from a model and its data.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>

#include "apps/commands/command.h"
#include "apps/commands/outputs.h"
#include "apps/report/evaluation.h"
#include "apps/terminal/progress_bar.h"
#include "apps/terminal/shown_text.h"
#include "engine/files/file.h"
#include "engine/text/json_text.h"
#include "pipeline/data_source.h"

namespace hh::apps {
namespace {

struct Options {
  std::string queries, database, model, run, split, out, json, dtype = "f32";
  std::optional<std::int64_t> top_k;
  std::vector<std::int64_t> ks;
  int radius = 2, bootstrap = 1000, batch = 256, workers = 1;
  double confidence = 0.95;
  std::vector<std::string> settings;
  double max_pixels = 0;
  bool skip_bad = false, allow_changed_data = false, mix_int8 = false;
  ComputeOptions compute;
};

constexpr std::int64_t kMostRanks = 1'000'000'000;

struct Codes {
  retrieval::CodeSet queries, database;
  std::int64_t top_k = 0;
  std::string recipe;  // of the model; empty: unknown
};

/// Queries and database of the data that the model was trained on.
Codes encode_protocol(const Options& o, Device device) {
  const std::filesystem::path path = o.model.empty()
                                         ? std::filesystem::path(o.run) / "best.safetensors"
                                         : std::filesystem::path(o.model);
  const auto model = pipeline::load_model(path, device, network_type(o.dtype));
  const pipeline::EncoderOptions options{.batch = o.batch,
                                         .workers = o.workers,
                                         .skip_bad = o.skip_bad,
                                         .listener = terminal_listener()};
  const auto open = [&](const char* part) {
    return pipeline::open_source(model->info, path,
                                 {.part = part,
                                  .split = o.split,
                                  .settings = o.settings,
                                  .max_pixels = o.max_pixels,
                                  .allow_changed_data = o.allow_changed_data});
  };
  const pipeline::Source queries = open("query"), database = open("database");
  return {pipeline::encode_source(*model, queries, options),
          pipeline::encode_source(*model, database, options), queries.top_k, model->info.recipe};
}

/// The report's files may be those of --json: what they hold is the same.
void check_outputs(const Options& o) {
  const std::filesystem::path run = o.run;
  std::vector<NamedPath> inputs =
      inputs_of(o.run.empty() ? o.model : (run / "best.safetensors").string(),
                {.part = "query", .split = o.split, .settings = o.settings});
  inputs.push_back({"--queries", o.queries});
  inputs.push_back({"--database", o.database});
  check_output_files({{"--json", o.json}}, inputs);
  if (o.out.empty()) return;
  const std::filesystem::path out = o.out;
  check_output_files({{"--out", out}}, {});
  check_is_folder({"--out", out});
  check_output_files({{"--out", out / "eval.json"}, {"--out", out / "report.html"}}, inputs);
}

void run(const Options& o) {
  const bool files = !o.queries.empty() || !o.database.empty();
  HH_REQUIRE(files != (!o.model.empty() || !o.run.empty()),
             "give either --queries and --database, or --run or --model");
  HH_REQUIRE(!files || (!o.queries.empty() && !o.database.empty()),
             "--queries and --database go together");
  check_outputs(o);
  const Device device = o.compute.apply();
  const Codes codes = files ? Codes{.queries = retrieval::read_codes(o.queries),
                                    .database = retrieval::read_codes(o.database)}
                            : encode_protocol(o, device);
  for (const auto& [option, path, set] : {std::tuple("--queries", &o.queries, &codes.queries),
                                          std::tuple("--database", &o.database, &codes.database)}) {
    HH_REQUIRE(!files || set->classes > 0,
               option << " " << *path << ": it has no labels, and without them nothing is right or "
                      << "wrong: give a code file, as hybridhash encode --class-folder, --list or "
                      << "--part makes it");
  }
  retrieval::EvaluationOptions options{.top_k = o.top_k.value_or(codes.top_k),
                                       .radius = o.radius,
                                       .bootstrap_samples = o.bootstrap,
                                       .confidence = o.confidence,
                                       .device = device};
  if (!o.ks.empty()) options.ks = o.ks;
  const EvaluationReport report = pipeline::evaluate_codes(
      codes.queries, codes.database, options,
      o.mix_int8 ? retrieval::Int8Codes::kMixed : retrieval::Int8Codes::kApart);
  fmt::print("{}", shown_lines(to_text(report)));
  if (!o.json.empty()) write_file_atomically(o.json, json_text(to_json(report), 1) + "\n");
  if (!o.out.empty()) {
    write_report(o.out, report, codes.recipe);
    say("report: {}\n", (std::filesystem::path(o.out) / "report.html").string());
  }
}

}  // namespace

void add_eval(Command program) {
  auto options = std::make_shared<Options>();
  Command command = program.add_subcommand("eval", "Measure how well codes retrieve");
  command.add_option("--queries", options->queries, "code file of the queries, with labels");
  command.add_option("--database", options->database, "code file of the database, with labels");
  command.add_option("--run", options->run,
                     "folder of a training run: encode and evaluate its best model");
  command.add_option("--model", options->model, "the same for a model file");
  add_allow_changed_data(command, options->allow_changed_data);
  command.add_option("--split", options->split, "split.json; otherwise that beside the model");
  command
      .add_option("--set", options->settings,
                  "key=value of the model's recipe, as data.path=/images")
      .take_all();
  command
      .add_option(
          "--top-k", options->top_k,
          "ranks that count for mAP; 0: all, -1: all but the last as the authors' CIFAR runs. "
          "Otherwise the protocol's, and all for code files")
      .check(within(std::int64_t{-1}, kMostRanks));
  command.add_option("--ks", options->ks, "list of k for precision and recall")
      .check(within(std::int64_t{1}, kMostRanks))
      .delimiter(',');
  command.add_option("--radius", options->radius, "Hamming radius")
      .check(within(0, retrieval::kMaxBits))
      .capture_default_str();
  command.add_option("--bootstrap", options->bootstrap, "resamples for the interval; 0: none")
      .check(within(0, 100000))
      .capture_default_str();
  command.add_option("--confidence", options->confidence, "of the interval")
      .check(within(.001, .999))
      .capture_default_str();
  command.add_option("--out", options->out, "folder for eval.json, plots and report.html");
  command.add_option("--json", options->json, "write the numbers here");
  add_batches(command, options->batch, options->workers, "images at once, when encoding");
  command
      .add_option("--dtype", options->dtype,
                  "f32, bf16, int8 (on a CPU) or f16 (on a GPU), when encoding")
      .one_of({"f32", "bf16", "int8", "f16"})
      .capture_default_str();
  add_mix_int8(command, options->mix_int8);
  add_max_pixels(command, options->max_pixels);
  command.add_flag("--skip-bad", options->skip_bad, "leave out images that can't be read");
  options->compute.add_to(command);
  add_examples(command,
               "  hybridhash eval --queries q.codes --database db.codes --out report\n"
               "  hybridhash eval --run runs/mine --out runs/mine/eval\n");
  command.callback([options] { run(*options); });
}

}  // namespace hh::apps

// SPDX-License-Identifier: Apache-2.0
// hybridhash verify: runs golden cases and compares every tensor with the reference.
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/commands/command.h"
#include "apps/commands/outputs.h"
#include "apps/terminal/elapsed.h"
#include "apps/terminal/shown_text.h"
#include "apps/verify/cases.h"
#include "apps/verify/golden_folders.h"
#include "engine/files/file.h"
#include "engine/text/counted.h"
#include "engine/text/json_text.h"
#include "kernels/core/simd.h"

namespace hh::apps {
namespace {

struct Options {
  std::string file;  // empty: all cases that are found
  std::string dtype = "f32";
  std::string json_out;
  bool failures_only = false;
  bool all_rows = false;
  ComputeOptions compute;
};

void write_json(const Options& options, const nlohmann::json& json) {
  if (!options.json_out.empty()) write_file_atomically(options.json_out, json_text(json, 1) + "\n");
}

/// What became of one of many cases. One that couldn't be run has failed, and `error` says why.
struct Outcome {
  Report report;
  std::string error;
  double seconds = 0;

  bool passed() const { return error.empty() && report.passed(); }
  std::string line(const std::filesystem::path& path) const {
    const std::string name =
        fmt::format("{}  {:<12}", passed() ? "pass" : "FAIL", path.stem().string());
    if (!error.empty()) return fmt::format("{}  {}\n", name, error);
    const std::size_t checks = report.checks().size();
    return fmt::format("{}  {:<22}  {:6.1f} s  {}\n", name,
                       fmt::format("{} of {} checks", checks - report.failures(), checks), seconds,
                       path.parent_path().string());
  }
  nlohmann::json json(const std::filesystem::path& path) const {
    nlohmann::json json = report.json();
    json["case"] = path.string();
    json["passed"] = passed();
    if (!error.empty()) json["error"] = error;
    return json;
  }
};

Outcome run_case(const std::filesystem::path& path, Device device, DType dtype) {
  Outcome outcome;
  const auto start = std::chrono::steady_clock::now();
  try {
    outcome.report = verify_case(path, device, dtype);
  } catch (const std::exception& error) {  // the other cases have something to say all the same
    outcome.error = error.what();
  }
  outcome.seconds = seconds_since(start);
  return outcome;
}

/// This machine against all cases that are found, one line each.
void run_all(const Options& options, Device device, DType dtype) {
  const std::vector<std::filesystem::path> folders =
      golden_folders(GoldenPlaces::of_this_program());
  std::size_t cases = 0, passed = 0;
  nlohmann::json outcomes = nlohmann::json::array();
  const auto found = find_cases(folders);
  std::vector<NamedPath> inputs;
  for (const auto& [path, kind] : found) inputs.push_back({"case", path});
  check_output_files({{"--json", options.json_out}}, inputs);
  for (const auto& [path, kind] : found) {
    if (dtype != DType::f32 && kind && !is_network(*kind)) continue;
    const Outcome outcome = run_case(path, device, dtype);
    ++cases;
    passed += outcome.passed();
    fmt::print("{}", shown_lines(outcome.line(path)));
    const bool rows = options.all_rows || (options.failures_only && !outcome.passed());
    if (rows && outcome.error.empty()) {
      fmt::print("{}", shown_lines(outcome.report.table(options.failures_only)));
    }
    std::fflush(stdout);  // a case can take a minute
    outcomes.push_back(outcome.json(path));
  }
  if (cases == 0) {
    throw std::invalid_argument("there are no reference cases in " + folders.front().string());
  }
  say("{} of {} passed on {} ({}){}\n", passed, counted(cases, "case"), to_string(device),
      cpu::simd_in_use(),
      passed == cases || options.failures_only ? "" : "; --failures shows the checks");
  write_json(options, {{"passed", passed == cases}, {"cases", outcomes}});
  if (passed < cases) throw Unsuccessful{};
}

void run(const Options& options) {
  const Device device = options.compute.apply();
  const DType dtype = activation_dtype(options.dtype);
  if (options.file.empty()) return run_all(options, device, dtype);
  check_output_files({{"--json", options.json_out}}, {{"case", options.file}});
  const Report report = verify_case(options.file, device, dtype);
  fmt::print("{}", shown_lines(report.table(options.failures_only)));
  write_json(options, report.json());
  if (!report.passed()) throw Unsuccessful{};
}

}  // namespace

void add_verify(Command program) {
  auto options = std::make_shared<Options>();
  Command command =
      program.add_subcommand("verify", "Compare this machine's results with reference results");
  command
      .add_option("case", options->file,
                  "CASE.json, its tensors beside it. Without it: all cases that came with the "
                  "program, and those in the folders that HH_GOLDENS names, a line a case")
      .check(existing_file());
  command.add_option("--dtype", options->dtype, "f32, or bf16 or f16 (codes and loss only)")
      .one_of({"f32", "bf16", "f16"})
      .capture_default_str();
  command.add_option("--json", options->json_out, "also write all checks as JSON");
  command.add_flag("--failures", options->failures_only, "of the checks, print those that failed");
  command.add_flag("--all-rows", options->all_rows, "print every check of all cases");
  options->compute.add_to(command);
  add_examples(command,
               "  hybridhash verify                       # check this machine\n"
               "  hybridhash verify --device cuda --failures\n"
               "  hybridhash verify tests/goldens/micro_e.json --device cpu --simd avx2\n");
  command.callback([options] { run(*options); });
}

}  // namespace hh::apps

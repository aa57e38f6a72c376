// SPDX-License-Identifier: Apache-2.0
// hybridhash verify: runs golden cases and compares every tensor with the reference.
#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "apps/commands/command.h"
#include "apps/verify/cases.h"
#include "engine/files/file.h"

namespace hh::apps {
namespace {

struct Options {
  std::string file;
  std::string dtype = "f32";
  std::string json_out;
  bool failures_only = false;
  ComputeOptions compute;
};

/// Which kind of case a JSON file is shows in its keys (docs/specification.md, section 8).
void verify(const GoldenCase& files, const nlohmann::json& json, Device device, DType dtype,
            Report& report) {
  const bool network = json.contains("config"), full = json.contains("code_f64") && !network;
  const bool transform = json.contains("cases");
  HH_REQUIRE(dtype == DType::f32 || network || full, "--dtype bf16 and f16 are for network cases; "
                                                         << files.json_path.string()
                                                         << " is another kind");
  if (network) return verify_network(files, json, device, dtype, report);
  if (full) return verify_full_network(files, json, device, dtype, report);
  if (transform) return verify_transform(files, json, report);
  for (const auto& [name, entry] : json.items()) {
    if (!entry.is_object()) continue;
    if (entry.contains("hamming_u8_fnv1a64")) return verify_metrics(files, json, report);
    if (entry.contains("S1")) return verify_loss(files, json, device, report);
  }
  throw std::invalid_argument(files.json_path.string() +
                              " is none of the known kinds of golden case (network, full network, "
                              "loss, metrics, transform)");
}

void run(const Options& options) {
  const Device device = options.compute.apply();
  constexpr std::size_t kMaxJson = std::size_t{64} << 20;
  const auto bytes = read_file(options.file, kMaxJson);
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(bytes.begin(), bytes.end());
  } catch (const nlohmann::json::exception& error) {
    throw std::invalid_argument(options.file + ": " + error.what());
  }
  Report report;
  try {
    verify({options.file}, json, device, activation_dtype(options.dtype), report);
  } catch (const nlohmann::json::exception& error) {  // a key of the format is missing
    throw std::invalid_argument(options.file + ": " + error.what());
  }
  fmt::print("{}", report.table(options.failures_only));
  if (!options.json_out.empty()) {
    write_file_atomically(options.json_out, report.json().dump(1) + "\n");
  }
  if (!report.passed()) throw Unsuccessful{};
}

}  // namespace

void add_verify(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      program.add_subcommand("verify", "Compare this machine's results with reference results");
  command->add_option("case", options->file, "CASE.json, its tensors beside it")
      ->required()
      ->check(CLI::ExistingFile);
  command->add_option("--dtype", options->dtype, "f32, or bf16 or f16 (codes and loss only)")
      ->check(CLI::IsMember({"f32", "bf16", "f16"}))
      ->capture_default_str();
  command->add_option("--json", options->json_out, "also write the table as JSON");
  command->add_flag("--failures", options->failures_only, "print failed checks only");
  options->compute.add_to(*command);
  add_examples(*command,
               "  hybridhash verify ../shared/goldens/micro_a.json\n"
               "  hybridhash verify ../shared/goldens/loss.json --device cpu --simd avx2\n");
  command->callback([options] { run(*options); });
}

}  // namespace hh::apps

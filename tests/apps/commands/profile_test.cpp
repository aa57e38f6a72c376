// SPDX-License-Identifier: Apache-2.0
// train --profile, as a user runs it.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/apps/program.h"
#include "tests/support/device.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_data.h"
#include "tests/support/trace.h"

namespace hh {
namespace {

using Catch::Contains;
using testing::read_text;

class TinyRun {
 public:
  TinyRun() {
    testing::make_tiny_images(folder / "images");
    testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "images"));
  }
  testing::Outcome train(const std::string& out, Device device,
                         std::vector<std::string> more = {}) const {
    std::vector<std::string> words{"train",    (folder / "tiny.toml").string(),
                                   "--out",    (folder / out).string(),
                                   "--device", to_string(device)};
    words.insert(words.end(), more.begin(), more.end());
    return testing::run_program(folder.path(), words);
  }
  testing::TemporaryFolder folder;
};

std::vector<std::string> cells_of(const std::string& line) {
  std::istringstream text(line);
  std::vector<std::string> cells;
  for (std::string cell; std::getline(text, cell, '\t');) cells.push_back(cell);
  return cells;
}

/// What a trace's events say, those of kernels and copies in level1.layer0 apart.
struct TraceCounts {
  int steps = 0, copies = 0, launches = 0, ran = 0, memory = 0;
  int forward = 0, backward = 0, linear_forward = 0, linear_backward = 0;
  double bytes = 0, flops = 0;
};

TraceCounts counts_of(const nlohmann::json& trace, bool gpu) {
  TraceCounts n;
  for (const auto& event : trace.at("traceEvents")) {
    n.steps += event.at("name") == "optimizer";
    n.memory += event.at("ph") == "C";
    if (event.at("ph") != "X") continue;
    const std::string kind = event.at("cat");
    n.launches += kind == "launch";
    if (kind != "kernel" && kind != "copy") continue;
    ++n.ran;
    n.copies += kind == "copy";
    CHECK(event.at("pid") == (gpu ? 1 : 0));
    const auto& args = event.at("args");
    if (args.value("layer", "") != "level1.layer0") continue;
    const bool back = args.at("backward");
    (back ? n.backward : n.forward) += 1;
    n.linear_forward += !back && event.at("name") == "LinearForward<float>";
    n.linear_backward += back && event.at("name") == "LinearBackwardWeight<float>";
    n.bytes += args.value("bytes", 0.0);
    n.flops += args.value("flops", 0.0);
  }
  return n;
}

/// The table holds each kernel and copy of the trace once, and no more time than there was.
void check_table(const std::string& text, const TraceCounts& trace, bool gpu) {
  std::istringstream table(text);
  std::string line;
  REQUIRE(std::getline(table, line));
  CHECK_THAT(line, Catch::StartsWith("# "));
  REQUIRE(std::getline(table, line));
  CHECK_THAT(line, Catch::StartsWith("# mfu: flops over ms, of the peak: "));
  const bool peak_known = line.find("not known") == std::string::npos;
  CHECK((gpu || peak_known));
  REQUIRE(std::getline(table, line));
  CHECK(line == "layer\tpass\tkernel\tcalls\tms\tshare\tbytes\tflops\tmfu");
  double share = 0, bytes = 0, flops = 0;
  int calls = 0, layer_calls = 0;
  while (std::getline(table, line)) {
    const std::vector<std::string> cells = cells_of(line);
    REQUIRE(cells.size() == 9);
    calls += std::stoi(cells[3]);
    share += std::stod(cells[5]);
    CHECK((cells[8] != "-") == (peak_known && std::stod(cells[7]) > 0));
    if (cells[8] != "-") CHECK(std::stod(cells[8]) >= 0);
    if (cells[0] != "level1.layer0") continue;
    layer_calls += std::stoi(cells[3]);
    bytes += std::stod(cells[6]);
    flops += std::stod(cells[7]);
  }
  CHECK(calls == trace.ran);
  CHECK(layer_calls == trace.forward + trace.backward);
  CHECK(bytes == trace.bytes);
  CHECK(flops == trace.flops);
  CHECK(flops > 0);
  CHECK(share > 0.1);
  CHECK(share < 1.001);  // shares are rounded to four digits
}

TEST_CASE("train --profile times layers and kernels, and trains the same weights",
          "[profile][devices]") {
  const Device device = GENERATE(from_range(testing::devices()));
  CAPTURE(device);
  const bool gpu = device != kCpu;
  const TinyRun run;
  // One epoch has five steps. The GPU's other steps replay a recording.
  const std::vector<std::string> two_epochs{"--set", "train.epochs=2"};
  std::vector<std::string> words = two_epochs;
  words.insert(words.end(), {"--profile-steps", "3:5"});
  const testing::Outcome profiled = run.train("profiled", device, words);
  INFO(profiled.err);
  REQUIRE(profiled.status == 0);
  CHECK_THAT(profiled.out, Contains("profile of steps 3 to 5") && Contains("trace.json"));
  REQUIRE(run.train("plain", device, two_epochs).status == 0);
  CHECK((read_text(run.folder / "profiled/best.safetensors") ==
         read_text(run.folder / "plain/best.safetensors")));
  CHECK(!std::filesystem::exists(run.folder / "plain/trace.json"));

  const auto trace = nlohmann::json::parse(read_text(run.folder / "profiled/trace.json"));
  testing::check_events_nest(trace);
  CHECK(trace.at("otherData").at("events_dropped") == 0);
  const TraceCounts counts = counts_of(trace, gpu);
  CHECK(counts.steps == 3);
  CHECK(counts.linear_forward > 0);
  CHECK(counts.linear_backward > 0);
  CHECK(counts.copies > 0);
  CHECK(counts.memory > 0);
  CHECK(counts.launches == (gpu ? counts.ran : 0));
  check_table(read_text(run.folder / "profiled/profile.tsv"), counts, gpu);
}

TEST_CASE("a run of too few steps to profile says so", "[profile]") {
  const TinyRun run;
  // One epoch of one step.
  const testing::Outcome outcome =
      run.train("short", kCpu,
                {"--profile", "--set", "train.epochs=1", "--set", "train.batch=42", "--set",
                 "schedule.warmup_epochs=0"});
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  CHECK_THAT(outcome.out, Contains("the run ended before step 3"));
  CHECK(!std::filesystem::exists(run.folder / "short/trace.json"));
}

TEST_CASE("steps to profile that aren't two numbers in order are refused", "[profile]") {
  const TinyRun run;
  for (const char* steps :
       {"", "3", "3:", ":3", "0:4", "5:4", "3:4:5", "a:b", "-1:2", "1:99999999999999999999"}) {
    CAPTURE(steps);
    const testing::Outcome outcome =
        run.train("refused", kCpu, {std::string("--profile-steps=") + steps});
    CHECK(outcome.status == 2);
    CHECK_THAT(outcome.err, Contains("--profile-steps"));
    CHECK(!std::filesystem::exists(run.folder / "refused"));
  }
}

}  // namespace
}  // namespace hh

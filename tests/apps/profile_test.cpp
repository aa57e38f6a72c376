// train --profile, as a user runs it.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/apps/program.h"
#include "tests/apps/tiny_data.h"
#include "tests/support/temporary_folder.h"

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
  testing::Outcome train(const std::string& out, std::vector<std::string> more = {}) const {
    std::vector<std::string> words{"train",    (folder / "tiny.toml").string(),
                                   "--out",    (folder / out).string(),
                                   "--device", "cpu"};
    words.insert(words.end(), more.begin(), more.end());
    return testing::run_program(folder.path(), words);
  }
  testing::TemporaryFolder folder;
};

TEST_CASE("train --profile times layers and kernels, and trains the same weights", "[profile]") {
  const TinyRun run;
  const testing::Outcome profiled = run.train("profiled", {"--profile"});
  INFO(profiled.err);
  REQUIRE(profiled.status == 0);
  CHECK_THAT(profiled.out, Contains("profile of steps 3 to 12") && Contains("trace.json"));
  REQUIRE(run.train("plain").status == 0);
  CHECK((read_text(run.folder / "profiled/best.safetensors") ==
         read_text(run.folder / "plain/best.safetensors")));
  CHECK(!std::filesystem::exists(run.folder / "plain/trace.json"));

  const auto trace = nlohmann::json::parse(read_text(run.folder / "profiled/trace.json"));
  int steps = 0, forward = 0, backward = 0, linear_forward = 0, linear_backward = 0;
  for (const auto& event : trace.at("traceEvents")) {
    steps += event.at("name") == "optimizer";
    if (event.at("cat") != "launch" || event.at("args").value("layer", "") != "level1.layer0")
      continue;
    const bool back = event.at("args").at("backward");
    (back ? backward : forward) += 1;
    linear_forward += !back && event.at("name") == "LinearForward<float>";
    linear_backward += back && event.at("name") == "LinearBackwardWeight<float>";
  }
  CHECK(steps == 10);
  CHECK(trace.at("otherData").at("events_dropped") == 0);
  CHECK(linear_forward > 0);
  CHECK(linear_backward > 0);

  // The table holds each launch of the trace once, and no more time than there was.
  std::istringstream table(read_text(run.folder / "profiled/profile.tsv"));
  std::string line;
  REQUIRE(std::getline(table, line));
  CHECK(line == "layer\tpass\tkernel\tcalls\tms\tshare");
  double share = 0;
  int layer_calls = 0;
  while (std::getline(table, line)) {
    share += std::stod(line.substr(line.rfind('\t')));
    if (line.rfind("level1.layer0\t", 0) != 0) continue;
    std::istringstream cells(line);
    std::string layer, pass, kernel, calls;
    std::getline(cells, layer, '\t');
    std::getline(cells, pass, '\t');
    std::getline(cells, kernel, '\t');
    std::getline(cells, calls, '\t');
    layer_calls += std::stoi(calls);
  }
  CHECK(layer_calls == forward + backward);
  CHECK(share > 0.1);
  CHECK(share < 1.001);  // shares are rounded to four digits
}

TEST_CASE("a run of too few steps to profile says so", "[profile]") {
  const TinyRun run;
  // One epoch of one step.
  const testing::Outcome outcome =
      run.train("short", {"--profile", "--set", "train.epochs=1", "--set", "train.batch=42",
                          "--set", "schedule.warmup_epochs=0"});
  INFO(outcome.err);
  REQUIRE(outcome.status == 0);
  CHECK_THAT(outcome.out, Contains("the run ended before step 3"));
  CHECK(!std::filesystem::exists(run.folder / "short/trace.json"));
}

}  // namespace
}  // namespace hh

// SPDX-License-Identifier: Apache-2.0
// Where the program's output goes: full disks, readers that have gone, closed descriptors, signals.
#include <catch2/catch.hpp>
#include <csignal>

#include "tests/apps/program.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_data.h"

namespace hh {
namespace {

using Catch::Contains;
using testing::Outcome, testing::Program, testing::run_program;

/// A line of the shell, in which $0 is the program.
Outcome shell(const std::filesystem::path& folder, const std::string& line) {
  return run_program(
      folder, {"-c", "cd '" + folder.string() + "'; " + line, testing::program_path().string()},
      "/bin/sh");
}

TEST_CASE("output that can't be written is an error of every command", "[program]") {
  const testing::TemporaryFolder folder;
  testing::write_text(folder / "codes.csv", "code\n0fa3\n1fb4\n");
  REQUIRE(run_program(folder.path(), {"index", "build", "--codes", folder / "codes.csv", "--out",
                                      folder / "index"})
              .status == 0);
  testing::write_text(folder / "q.csv", "code,label\n0fa3,0\n1fb4,1\n");
  for (const char* words :
       {"--help", "--version", "train --help", "index build --help", "info", "info --simd-sets",
        "info index", "index info index", "index info index --json", "train --print-recipe",
        "search --index index --id 0", "search --index index --id 0 --json",
        "index export index --out x.csv", "index build --codes codes.csv --out index --overwrite",
        "index delete index --ids 1", "index compact index",
        "bench --steps 1 --batch 1 --mode encode"}) {
    const Outcome outcome = shell(folder.path(), std::string("\"$0\" ") + words + " > /dev/full");
    CAPTURE(words, outcome.err);
    CHECK(outcome.status == 2);
    CHECK(outcome.err == "hybridhash: the output can't be written: No space left on device\n");
  }
  // Nobody could find a server whose address wasn't printed: it ends at once.
  const Outcome served =
      shell(folder.path(), "timeout 60 \"$0\" serve --index index --port 0 > /dev/full");
  CHECK(served.status == 2);
  CHECK(served.err == "hybridhash: the output can't be written: No space left on device\n");
  // An error of its own remains the one line.
  const Outcome wrong = shell(folder.path(), "\"$0\" info nowhere > /dev/full");
  CHECK(wrong.status == 2);
  CHECK_THAT(wrong.err, Contains("nowhere") && !Contains("the output"));
}

TEST_CASE("a reader that has gone ends the program without a line", "[program]") {
  const testing::TemporaryFolder folder;
  for (const char* trap : {"trap '' PIPE;", ""}) {
    CAPTURE(trap);
    const Outcome outcome = shell(
        folder.path(), std::string("(") + trap +
                           " while [ ! -e gone ]; do sleep .01; done; \"$0\" info; echo $? > status"
                           ") | (exec <&-; : > gone); while [ ! -s status ]; do sleep .01; done");
    CHECK(outcome.err.empty());
    CHECK(testing::read_text(folder / "status") == "141\n");
  }
}

TEST_CASE("the picture of a query is the file that was given, whatever --image-root says",
          "[program][search]") {
  const testing::TemporaryFolder folder;
  testing::make_tiny_images(folder / "images");
  testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "images"));
  const Outcome outcome = shell(
      folder.path(),
      "\"$0\" train tiny.toml --out run --device cpu > log && cd images && "
      "\"$0\" index build --model ../run/best.safetensors --class-folder . --out ../index > log && "
      "\"$0\" search --index ../index --model ../run/best.safetensors --image red/100.ppm "
      "--image-root .. -k 1 --html ../page.html");
  CAPTURE(outcome.err);
  REQUIRE(outcome.status == 0);
  const std::string page = testing::read_text(folder / "page.html");
  CHECK_THAT(page, Contains("<img") && !Contains("no picture"));
}

TEST_CASE("what is printed to closed descriptors reaches no file", "[program][train]") {
  const testing::TemporaryFolder folder;
  testing::make_tiny_images(folder / "images");
  testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "images"));
  const Outcome outcome =
      shell(folder.path(), "\"$0\" train tiny.toml --out run --device cpu <&- >&- 2>&-");
  CHECK(outcome.status == 0);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder / "run")) {
    if (!entry.is_regular_file()) continue;
    CAPTURE(entry.path());
    CHECK_THAT(testing::read_text(entry.path()), !Contains("images/s") && !Contains("epoch 1/"));
  }
  CHECK(run_program(folder.path(), {"info", folder / "run/best.safetensors"}).status == 0);
  // Codes that nobody gets are no success.
  testing::write_text(folder / "list", "images/red/100.ppm\n");
  const Outcome codes =
      shell(folder.path(), "\"$0\" encode --model run/best.safetensors --list list --out - >&-");
  CHECK(codes.status == 2);
  CHECK_THAT(codes.err, Contains("--out -: stdout is closed"));
}

TEST_CASE("a training that a signal stops says so by its exit status", "[program][train]") {
  const testing::TemporaryFolder folder;
  testing::make_tiny_images(folder / "images");
  testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "images"));
  const int signal = GENERATE(SIGINT, SIGTERM);
  CAPTURE(signal);
  Program program(folder.path(), {"train", folder / "tiny.toml", "--out", folder / "run",
                                  "--device", "cpu", "--set", "train.epochs=500"});
  REQUIRE(testing::wait_for(
      [&] { return Contains("\nepoch ").match(program.out()) || !program.running(); }));
  program.signal(signal);
  CHECK(program.wait() == 128 + signal);
  CHECK_THAT(program.out(), Contains("continue with: hybridhash train --resume"));
}

}  // namespace
}  // namespace hh

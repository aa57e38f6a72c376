// SPDX-License-Identifier: Apache-2.0
// What users get wrong: one line that says what, exit status 2.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/apps/program.h"
#include "tests/support/temporary_folder.h"

namespace hh {
namespace {

using Catch::Contains;
using testing::Outcome, testing::run_program;

TEST_CASE("mistakes of users are answered in one line", "[program]") {
  const testing::TemporaryFolder folder;
  testing::write_text(folder / "empty", "");
  testing::write_text(folder / "noise.safetensors", std::string(1000, '\xa5'));
  testing::write_text(folder / "bad.toml", "[train]\nepochz = 3\n");
  testing::write_text(folder / "plain.toml",
                      "[data]\nprotocol = \"folder\"\npath = \"/nowhere\"\n");
  const std::string empty = (folder / "empty").string(),
                    noise = (folder / "noise.safetensors").string();
  const std::string bad = (folder / "bad.toml").string(), plain = (folder / "plain.toml").string();
  const std::string out = (folder / "out").string();
  struct Mistake {
    std::vector<std::string> words;
    std::string reason;
  };
  // --device cpu: a program with a GPU side says in a line of its own that there is no GPU.
  const std::vector<Mistake> mistakes{
      {{}, "subcommand"},
      {{"fly"}, "fly"},
      {{"train"}, "RECIPE"},
      {{"train", "/nowhere.toml"}, "/nowhere.toml"},
      {{"train", bad, "--out", out, "--device", "cpu"}, "train.epochs"},
      {{"train", plain, "--out", out, "--device", "cpu"}, "/nowhere"},
      {{"train", plain, "--out", out, "--set", "train.epochs=0"}, "train.epochs = 0"},
      {{"train", plain, "--out", out, "--set", "model.bits=513"}, "bits = 513"},
      {{"train", "--resume", folder.path().string()}, "recipe.toml"},
      {{"train", "--device", "tpu", "--set", "train.epochs=1", "--out", out}, "tpu"},
      {{"train", "--simd", "mmx", "--set", "train.epochs=1", "--out", out}, "mmx"},
      {{"encode", "--model", noise, "--part", "query", "--out", out, "--device", "cpu"},
       "noise.safetensors"},
      {{"encode", "--model", empty, "--part", "query", "--out", out, "--device", "cpu"}, "empty"},
      {{"encode", "--model", "/nowhere"}, "/nowhere"},
      {{"encode", "--model", noise}, "--out"},
      {{"eval"}, "--queries"},
      {{"eval", "--queries", noise, "--database", noise, "--device", "cpu"}, "noise.safetensors"},
      {{"eval", "--queries", empty, "--database", empty, "--device", "cpu"}, "empty"},
      {{"eval", "--run", folder.path().string(), "--device", "cpu"}, "best.safetensors"},
      {{"verify", "/nowhere.json"}, "/nowhere.json"},
      {{"info", "/nowhere"}, "/nowhere"},
      {{"info", noise}, "noise.safetensors"},
      {{"info", empty}, "empty"},
      {{"info", folder.path().string()}, "recipe.toml"},
      {{"bench", "--config", "huge", "--device", "cpu"}, "huge"},
      {{"bench", "--batch", "0"}, "--batch"},
  };
  for (const Mistake& mistake : mistakes) {
    const Outcome outcome = run_program(folder.path(), mistake.words);
    std::string words;
    for (const std::string& word : mistake.words) words += word + " ";
    CAPTURE(words, outcome.err);
    CHECK(outcome.status == 2);
    CHECK(outcome.out.empty());
    CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
    CHECK_THAT(outcome.err, Catch::StartsWith("hybridhash: ") && Contains(mistake.reason));
  }
  CHECK(!std::filesystem::exists(folder / "out" / "recipe.toml"));
}

TEST_CASE("every command explains itself", "[program]") {
  const testing::TemporaryFolder folder;
  for (const char* command : {"train", "encode", "dataset", "eval", "verify", "info", "bench"}) {
    const Outcome outcome = run_program(folder.path(), {command, "--help"});
    CAPTURE(command);
    CHECK(outcome.status == 0);
    CHECK_THAT(outcome.out,
               Contains("Examples:") && Contains(std::string("hybridhash ") + command));
  }
  CHECK(run_program(folder.path(), {"--version"}).status == 0);
  const Outcome info = run_program(folder.path(), {"info"});
  CHECK(info.status == 0);
  CHECK_THAT(info.out, Contains("SIMD") && Contains("threads"));
  CHECK_THAT(run_program(folder.path(), {"info", "--simd-sets"}).out,
             Catch::StartsWith("baseline"));
}

}  // namespace
}  // namespace hh

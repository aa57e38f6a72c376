// SPDX-License-Identifier: Apache-2.0
// --dtype int8: codes say so, and don't meet others of the same model unless told to.
#include <algorithm>
#include <catch2/catch.hpp>

#include "kernels/gemm/instructions.h"
#include "retrieval/codes/code_file.h"
#include "retrieval/index/index.h"
#include "tests/apps/program.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_data.h"

namespace hh {
namespace {

using Catch::Contains;
using Words = std::vector<std::string>;

/// One line, exit status 2.
void check_refused(const testing::Outcome& outcome, const std::string& reason) {
  CAPTURE(outcome.err);
  CHECK(outcome.status == 2);
  CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
  CHECK_THAT(outcome.err, Contains(reason));
}

}  // namespace

TEST_CASE("codes of int8 and f32 are told apart, and meet by --mix-int8", "[int8]") {
  const testing::TemporaryFolder folder;
  testing::make_tiny_images(folder / "images");
  testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "images"));
  const auto path = [&](const std::string& name) { return (folder / name).string(); };
  const auto attempt = [&](const Words& words) {
    return testing::run_program(folder.path(), words);
  };
  const auto run = [&](const Words& words) {
    const testing::Outcome outcome = attempt(words);
    INFO(outcome.err);
    REQUIRE(outcome.status == 0);
    return outcome.out;
  };
  run({"train", path("tiny.toml"), "--out", path("run"), "--set", "train.epochs=2"});
  const auto model = path("run/last.safetensors");
  const auto encode = [&](const std::string& dtype, const std::string& out) {
    return Words{"encode",  "--model", model, "--class-folder", path("images"), "--out",
                 path(out), "--dtype", dtype, "--device",       "cpu"};
  };
  run(encode("f32", "f.codes"));
  check_refused(attempt({"bench", "--dtype", "int8", "--mode", "train", "--device", "cpu"}),
                "--mode encode");
  if (!cpu::has_int8_products()) {
    return check_refused(attempt(encode("int8", "i.codes")), "AVX512_VNNI");
  }
  run(encode("int8", "i.codes"));
  const auto made = retrieval::read_code_file(path("i.codes"));
  const auto hash = retrieval::read_code_file(path("f.codes")).model_hash;
  CHECK(hash.size() == 16);
  CHECK(made.model_hash == hash + "-int8");
  CHECK_THAT(run({"info", path("i.codes")}), Contains(hash + "-int8"));

  run({"index", "build", "--codes", path("f.codes"), "--out", path("index")});
  const Words search{"search", "--index", path("index"), "--codes", path("i.codes"), "-k", "1"};
  const Words add{"index", "add", path("index"), "--codes", path("i.codes"), "--renumber"};
  const Words eval{"eval",     "--queries", path("i.codes"), "--database", path("f.codes"),
                   "--device", "cpu"};
  const Words pictures{"search",  "--index", path("index"),
                       "--model", model,     "--dtype",
                       "int8",    "--image", path("images/red/100.ppm"),
                       "-k",      "1",       "--device",
                       "cpu"};
  const Words serve{"serve", "--index", path("index"), "--model",  model, "--dtype",
                    "int8",  "--port",  "0",           "--device", "cpu"};
  for (const Words& words : {search, add, eval, pictures}) {
    CAPTURE(words.front());
    check_refused(attempt(words), "--mix-int8");
    Words mixed = words;
    mixed.emplace_back("--mix-int8");
    run(mixed);
  }
  check_refused(attempt(serve), "--mix-int8");
  // What was added counts as the index's own.
  CHECK(retrieval::Index::open(path("index")).manifest().model_hash == hash);
  CHECK_THAT(run({"index", "info", path("index")}), Contains("mixed        int8 and other codes"));

  run({"index", "build", "--codes", path("i.codes"), "--out", path("bytes")});
  CHECK(retrieval::Index::open(path("bytes")).manifest().model_hash == hash + "-int8");
  check_refused(attempt({"index", "merge", path("bytes"), path("index"), "--renumber"}),
                "--mix-int8");
  // Another model's codes never meet these.
  auto other = made;
  other.model_hash = "0123456789abcdef-int8";
  retrieval::write_code_file(path("o.codes"), other);
  check_refused(attempt({"search", "--index", path("index"), "--codes", path("o.codes"), "-k", "1",
                         "--mix-int8"}),
                "encode both with one model");
}

}  // namespace hh

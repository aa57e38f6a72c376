// SPDX-License-Identifier: Apache-2.0
// Outputs that would destroy an input, a model, a picture, a run or an index are refused.
#include "apps/commands/outputs.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "tests/apps/program.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_data.h"

namespace hh {
namespace {

using Catch::Contains;
using testing::Outcome, testing::run_program;
namespace fs = std::filesystem;

/// Every file below a folder, with its bytes.
std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> all;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name == "stdout" || name == "stderr" || !entry.is_regular_file()) continue;
    all[entry.path().string()] = testing::read_text(entry.path());
  }
  return all;
}

/// A trained run with codes, an index, lists and links, whose files no output may destroy.
struct Workplace {
  Workplace() {
    testing::make_tiny_images(folder / "images");
    testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "images"));
    run({"train", path("tiny.toml"), "--out", path("run"), "--device", "cpu", "--set",
         "train.epochs=1"});
    run({"encode", "--model", model, "--class-folder", path("images"), "--out", path("all.codes"),
         "--npy", path("all.npy"), "--device", "cpu"});
    run({"index", "build", "--codes", path("all.codes"), "--out", path("ix")});
    testing::write_text(folder / "list.txt", path("images/green/100.ppm") + " 0 1 0\n");
    testing::write_text(folder / "cat.webp", std::string("RIFF\x10\0\0\0WEBPVP8 ", 16));
    fs::create_symlink("list.txt", folder / "link.txt");
    fs::create_symlink("ix", folder / "ix_link");
    fs::create_hard_link(model, folder / "hard");
    fs::create_directory(folder / "build");
    fs::copy_file(folder / "all.codes", folder / "build/in.codes");
    fs::copy(folder / "ix", folder / "build/ix");
    testing::write_text(folder / "ix/in.csv", "code\n0fa3\n");
    testing::write_text(folder / "case.json", "{}");
  }
  std::string path(const std::string& name) const { return (folder / name).string(); }
  void run(const std::vector<std::string>& words) const {
    const Outcome outcome = run_program(folder.path(), words);
    CAPTURE(outcome.err);
    REQUIRE(outcome.status == 0);
  }
  /// encode with this model, and more words.
  std::vector<std::string> encode(const std::vector<std::string>& more) const {
    std::vector<std::string> words{"encode", "--model", model, "--device", "cpu"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  const testing::TemporaryFolder folder;
  const std::string model = path("run/best.safetensors"), red = path("images/red/100.ppm");
};

struct Refused {
  std::vector<std::string> words;
  std::string reason;
};

std::vector<Refused> encodings(const Workplace& at) {
  const auto path = [&](const std::string& name) { return at.path(name); };
  return {
      // The shell's pattern took the first picture for the output.
      {at.encode({path("images/red/101.ppm"), "--out", at.red}), "a picture"},
      {at.encode({at.red, "--out", path("cat.webp")}), "a picture"},
      {at.encode({at.red, "--out", at.red}), "the input image"},
      {at.encode({"--folder", path("images"), "--npy", at.red}), "a picture"},
      {at.encode({at.red, "--npy-outputs", path("images/blue/100.ppm")}), "a picture"},
      {at.encode({at.red, "--out", at.model}), "the input --model"},
      {at.encode({at.red, "--out", path("hard")}), "the input --model"},
      {at.encode({at.red, "--npy", path("run/../run/best.safetensors")}), "the input --model"},
      {at.encode({at.red, "--out", path("run/last.safetensors")}), "a checkpoint"},
      {at.encode({at.red, "--out", path("run/split.json")}), "the model"},
      {at.encode({at.red, "--out", path("run/metrics.csv")}), "a training run"},
      {at.encode({at.red, "--out", path("tiny.toml")}), "a recipe"},
      {at.encode({"--list", path("list.txt"), "--out", path("link.txt")}), "the input --list"},
      {at.encode({at.red, "--out", path("ix/manifest.json")}), "in the index"},
      {at.encode({at.red, "--out", path("ix/new.codes")}), "in the index"},
      {at.encode({at.red, "--out", path("ix_link/new.codes")}), "in the index"},
      {at.encode({at.red, "--out", path("x.npy"), "--npy", path("./x.npy")}), "also --out"},
  };
}

std::vector<Refused> other_commands(const Workplace& at) {
  const auto path = [&](const std::string& name) { return at.path(name); };
  return {
      {{"eval", "--queries", path("all.codes"), "--database", path("all.codes"), "--json",
        path("all.codes")},
       "the input --queries"},
      {{"eval", "--queries", path("all.codes"), "--database", path("all.codes"), "--out",
        path("ix")},
       "an index"},
      {{"eval", "--queries", path("all.codes"), "--database", path("all.codes"), "--out",
        path("ix/report")},
       "in the index"},
      {{"eval", "--run", path("run"), "--device", "cpu", "--json", path("run/recipe.toml")},
       "the model"},
      {{"index", "export", path("ix"), "--out", path("ix/items.csv"), "--format", "csv"},
       "in the index"},
      {{"index", "export", path("ix"), "--out", at.model, "--format", "csv"}, "a model"},
      {{"index", "build", "--codes", path("ix/in.csv"), "--out", path("ix"), "--overwrite"},
       "the input --codes"},
      {{"index", "build", "--codes", path("build/in.codes"), "--out", path("build"), "--overwrite"},
       "the input --codes"},
      {{"index", "build", "--codes", path("all.codes"), "--out", path("ix/inner")}, "in the index"},
      {{"search", "--index", path("ix"), "--codes", path("all.npy"), "--out", path("all.npy")},
       "the input --codes"},
      {{"search", "--index", path("ix"), "--id", "0", "--html", path("ix/rows")}, "in the index"},
      {{"search", "--index", path("ix"), "--id", "0", "--out", path("a.npy"), "--out-distances",
        path("a.npy")},
       "also --out"},
      {{"search", "--index", path("ix"), "--model", at.model, "--image", at.red, "--html", at.red},
       "the input image"},
      {{"verify", path("case.json"), "--json", path("case.json")}, "the input case"},
      {{"train", path("tiny.toml"), "--out", path("ix")}, "an index"},
      {{"train", path("tiny.toml"), "--out", path("ix/run")}, "in the index"},
  };
}

TEST_CASE("no command's output destroys what can't be had back", "[program][outputs]") {
  const Workplace at;
  std::vector<Refused> all = encodings(at);
  const std::vector<Refused> others = other_commands(at);
  all.insert(all.end(), others.begin(), others.end());
  const auto before = contents(at.folder.path());
  for (const Refused& refused : all) {
    const Outcome outcome = run_program(at.folder.path(), refused.words);
    std::string words;
    for (const std::string& word : refused.words) words += word + " ";
    CAPTURE(words, outcome.err);
    CHECK(outcome.status == 2);
    CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
    CHECK_THAT(outcome.err, Contains(refused.reason));
    CHECK((contents(at.folder.path()) == before));
  }
  // What a command made it makes again.
  at.run(at.encode({at.red, "--out", at.path("all.codes"), "--npy", at.path("all.npy")}));
  at.run(
      {"index", "build", "--codes", at.path("all.codes"), "--out", at.path("ix"), "--overwrite"});
  at.run({"search", "--index", at.path("ix"), "--id", "0", "--html", at.path("page.html")});
  at.run({"search", "--index", at.path("ix"), "--id", "0", "--html", at.path("page.html")});
  at.run(at.encode({at.red, "--out", "/dev/null", "--npy", "/dev/null"}));
}

TEST_CASE("files that only a recipe names are inputs too", "[program][outputs]") {
  const testing::TemporaryFolder folder;
  testing::make_tiny_images(folder / "images");
  const auto path = [&](const std::string& name) { return (folder / name).string(); };
  // The lists lie beside each other, the pictures elsewhere.
  fs::create_directory(folder / "lists");
  for (const char* name : {"test.txt", "train.txt", "database.txt"}) {
    std::string lines;
    for (const char* number : {"100", "101", "102", "103", "104", "105", "106", "107"}) {
      for (int c = 0; c < 3; ++c) {
        lines += path(std::string("images/") + testing::kTinyClasses[std::size_t(c)] + "/" +
                      number + ".ppm") +
                 (c == 0   ? " 1 0 0\n"
                  : c == 1 ? " 0 1 0\n"
                           : " 0 0 1\n");
      }
    }
    testing::write_text(folder / "lists" / name, lines);
  }
  std::string recipe = testing::tiny_recipe(folder / "lists");
  recipe.replace(recipe.find("\"folder\""), 8, "\"lists\"");
  testing::write_text(folder / "tiny.toml", recipe);
  const Outcome trained = run_program(
      folder.path(), {"train", path("tiny.toml"), "--out", path("run"), "--device", "cpu", "--set",
                      "train.epochs=1", "--set", "data.query_per_class=0"});
  CAPTURE(trained.err);
  REQUIRE(trained.status == 0);
  fs::create_directory(folder / "next");
  testing::write_text(folder / "next/split.json",
                      "{}");  // stands for a split that was chosen by hand
  const std::string model = path("run/best.safetensors"), train = path("lists/train.txt");
  fs::create_symlink("lists/test.txt", folder / "link");
  const auto before = contents(folder.path());
  for (const std::vector<std::string>& words : {
           std::vector<std::string>{"encode", "--model", model, "--part", "query", "--out", train},
           {"encode", "--model", model, "--part", "query", "--npy", path("link")},
           {"eval", "--run", path("run"), "--json", path("lists/database.txt")},
           {"eval", "--model", model, "--json", train},
           {"index", "build", "--model", model, "--part", "all", "--out", path("lists"),
            "--overwrite"},
           {"train", path("tiny.toml"), "--out", path("next"), "--set",
            "data.split_file=" + path("next/split.json")},
       }) {
    const Outcome outcome = run_program(folder.path(), words);
    CAPTURE(words, outcome.err);
    CHECK(outcome.status == 2);
    CHECK_THAT(outcome.err, Contains("of the recipe"));
    CHECK((contents(folder.path()) == before));
  }
}

}  // namespace
}  // namespace hh

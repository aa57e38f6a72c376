// SPDX-License-Identifier: Apache-2.0
#include "pipeline/recipe.h"

#include <catch2/catch.hpp>

#include "tests/support/source_dir.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/text_file.h"

namespace hh::pipeline {
namespace {

using Catch::Contains;

TEST_CASE("a recipe reads keys, presets and settings in that order", "[recipe]") {
  const Recipe recipe = Recipe::parse(
      "[model]\nbits = 48\npreset = \"micro\"\n[train]\nepochs = 7\n[schedule]\nlearning_rate = "
      "1\n",
      "r.toml", {"train.epochs=9", "data.path=some/folder", "model.dims=[16, 32, 64]"});
  CHECK(recipe.model.bits == 48);  // the preset comes first wherever it stands
  CHECK(recipe.model.image_size == 32);
  CHECK(recipe.model.dims == std::array<int, 3>{16, 32, 64});
  CHECK(recipe.train.epochs == 9);
  CHECK(recipe.schedule.learning_rate == 1);
  CHECK(recipe.data.path == "some/folder");
}

TEST_CASE("a recipe survives writing and reading", "[recipe]") {
  const Recipe recipe = Recipe::parse("", "",
                                      {"data.path=a \"b\" \\c", "schedule.learning_rate=3e-05",
                                       "optimizer.weight_decay=0.1", "evaluate.by_query=true"});
  const Recipe again = Recipe::parse(recipe.to_toml(), "again", {});
  CHECK(again.to_toml() == recipe.to_toml());
  CHECK(again.data.path == "a \"b\" \\c");
  CHECK(again.schedule.learning_rate == 3e-05f);
  CHECK(again.evaluate.by_query);
}

TEST_CASE("a recipe is printed with what the page says of each key", "[recipe]") {
  const Recipe recipe = Recipe::parse("", "", {"train.epochs=9"});
  const std::string text = recipe.to_commented_toml();
  CHECK(Recipe::parse(text, "again", {}).to_toml() == recipe.to_toml());
  CHECK_THAT(text,
             Contains("# passes through the training images (epochs; 1 to 100000; default 15)\n"
                      "epochs = 9\n") &&
                 Contains("docs/own-photos.md"));
  // A comment above each key, of lines that a terminal shows whole.
  std::string before = "#";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    const std::string line = text.substr(at, end - at);
    INFO(line);
    CHECK(line.size() <= 110);
    if (line.find(" = ") != std::string::npos && !line.starts_with("#")) {
      CHECK(before.starts_with("# "));
    }
    before = line;
    at = end + 1;
  }
}

TEST_CASE("photographs are turned by the protocol's choice, and it is written", "[recipe]") {
  const auto turned = [](std::vector<std::string> settings) {
    const Recipe recipe = Recipe::parse("", "", settings);
    CHECK_THAT(recipe.to_toml(),
               Contains(recipe.turns_photographs() ? "exif_orientation = true\n"
                                                   : "exif_orientation = false\n"));
    return recipe.turns_photographs();
  };
  CHECK(turned({"data.protocol=folder"}));
  CHECK(turned({"data.protocol=lists", "data.exif_orientation=auto"}));
  for (const char* published : {"fashion_mnist", "cifar10", "coco", "nuswide_21", "imagenet"}) {
    CHECK_FALSE(turned({std::string("data.protocol=") + published}));
  }
  CHECK(turned({"data.protocol=coco", "data.exif_orientation=true"}));
  CHECK_FALSE(turned({"data.exif_orientation=false", "data.protocol=folder"}));
  CHECK_THROWS_WITH(turned({"data.exif_orientation=1"}),
                    Contains("data.exif_orientation: write \"auto\", true or false"));
}

TEST_CASE("a recipe names what it refuses", "[recipe]") {
  const auto parse = [](const std::string& text) { return Recipe::parse(text, "r.toml", {}); };
  CHECK_THROWS_WITH(parse("[train]\nepoch = 3\n"),
                    Contains("r.toml") && Contains("train.epoch'") && Contains("train.epochs"));
  CHECK_THROWS_WITH(parse("[trian]\nepochs = 3\n"), Contains("nearest is train.epochs"));
  // By what other programs call it, and by the section that it stands in here.
  CHECK_THROWS_WITH(parse("[train]\nlr = 1\n"), Contains("nearest is schedule.learning_rate"));
  CHECK_THROWS_WITH(parse("[data]\nbatch_size = 1\n"), Contains("nearest is train.batch"));
  CHECK_THROWS_WITH(parse("[train]\nbits = 1\n"), Contains("nearest is model.bits"));
  CHECK_THROWS_WITH(parse("[train]\nepoch = 1\n"), Contains("nearest is train.epochs"));
  CHECK_THROWS_WITH(parse("epochs = 3\n"), Contains("section"));
  CHECK_THROWS_WITH(parse("[train]\nepochs = \"3\"\n"),
                    Contains("train.epochs: write a whole number"));
  CHECK_THROWS_WITH(parse("[train]\nepochs = 0\n"), Contains("train.epochs = 0: use 1 to 100000"));
  CHECK_THROWS_WITH(parse("[train]\nepochs = 99999999999\n"), Contains("train.epochs"));
  CHECK_THROWS_WITH(parse("[train]\nbatch = 0\n"), Contains("train.batch = 0"));
  CHECK_THROWS_WITH(parse("[data]\nmax_pixels = 0\n"), Contains("data.max_pixels = 0: use up to"));
  CHECK_THROWS_WITH(parse("[data]\nflip = 1.5\n"), Contains("data.flip = 1.5"));
  CHECK_THROWS_WITH(parse("[data]\nprotocol = \"cifar\"\n"), Contains("there are:"));
  CHECK_THROWS_WITH(parse("[model]\nbits = 513\n"), Contains("bits = 513"));
  CHECK_THROWS_WITH(parse("[model]\ndims = [8, 8]\n"), Contains("three whole numbers"));
  CHECK_THROWS_WITH(parse("[model]\npreset = \"macro\"\n"),
                    Contains("paper, class-default or micro"));
  CHECK_THROWS_WITH(parse("[optimizer]\nkind = \"adam\"\n"), Contains("rmsprop, adamw or sgd"));
  CHECK_THROWS_WITH(parse("[train]\n\nepochs = = 3\n"), Contains("r.toml:3"));
  CHECK_THROWS_WITH(Recipe::parse("", "", {"train.epochs"}), Contains("key=value"));
  CHECK_THROWS_WITH(Recipe::read("/nowhere/r.toml", {}), Contains("/nowhere/r.toml"));
}

TEST_CASE("a cache is for data sets of files", "[recipe]") {
  CHECK(Recipe::read("", {"data.protocol=folder", "data.cache=there"}).data.cache == "there");
  CHECK(Recipe::read("", {"data.protocol=coco", "data.cache=there"}).data.cache == "there");
  CHECK_THROWS_WITH(Recipe::read("", {"data.cache=there"}),
                    "data.cache = there: the images of fashion_mnist are held in memory, decoded: "
                    "leave it out");
}

TEST_CASE("numbers of a recipe are finite, and counts aren't negative", "[recipe]") {
  const auto set = [](const std::string& key, const std::string& value) {
    return Recipe::parse("", "", {key + "=" + value});
  };
  for (const char* key :
       {"schedule.learning_rate", "optimizer.eps", "train.alpha", "train.initial_std",
        "optimizer.weight_decay", "optimizer.clip_norm", "schedule.warmup_epochs",
        "train.checkpoint_minutes", "train.timeout_s"}) {
    INFO(key);
    for (const char* value : {"inf", "1e99", "nan", "-1.0", "-inf"}) {
      INFO(value);
      CHECK_THROWS_WITH(set(key, value), Contains(std::string(key) + " = ") &&
                                             Contains("use a finite number") && Contains("3.4e38"));
    }
    CHECK_NOTHROW(set(key, "1e30"));
  }
  CHECK_THROWS_WITH(set("evaluate.patience", "2"), Contains("so set evaluate.hold_out too"));
  CHECK_THROWS_WITH(set("train.alpha", "0"), Contains("above 0"));
  CHECK_NOTHROW(set("optimizer.weight_decay", "0"));
  for (const char* key :
       {"data.query_per_class", "data.train_per_class", "evaluate.top_k", "evaluate.patience"}) {
    CHECK_THROWS_WITH(set(key, "-1"), Contains(std::string(key) + " = -1: use 0 ("));
    CHECK_NOTHROW(set(key, "0"));
  }
}

TEST_CASE("the recipes of this repository are valid", "[recipe]") {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(testing::source_dir() / "recipes")) {
    CAPTURE(entry.path());
    CHECK_NOTHROW(Recipe::read(entry.path(), {}));
    ++count;
  }
  CHECK(count >= 4);
}

}  // namespace
}  // namespace hh::pipeline

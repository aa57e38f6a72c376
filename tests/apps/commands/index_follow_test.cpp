// SPDX-License-Identifier: Apache-2.0
// hybridhash index sync, reencode, snapshot and duplicates, as a user runs them.
#include <catch2/catch.hpp>
#include <map>
#include <nlohmann/json.hpp>

#include "pipeline/model_file.h"
#include "pipeline/reencode.h"
#include "retrieval/index/index.h"
#include "tests/apps/program.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/text_file.h"
#include "tests/support/tiny_data.h"

namespace hh {
namespace {
namespace fs = std::filesystem;

using Catch::Contains;
using testing::Outcome, testing::run_program;

/// Two models, made once for all tests.
struct Models {
  testing::TemporaryFolder folder;
  Models() {
    testing::make_tiny_images(folder / "images");
    testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "images"));
    for (const std::string seed : {"3", "4"}) {
      const Outcome outcome =
          run_program(folder.path(),
                      {"train", (folder / "tiny.toml").string(), "--out", (folder / seed).string(),
                       "--set", "train.epochs=1", "--set", "train.seed=" + seed});
      INFO(outcome.err);
      REQUIRE(outcome.status == 0);
    }
  }
  std::string path(const std::string& seed) const {
    return (folder / seed / "best.safetensors").string();
  }
};
const Models& models() {
  static const Models made;
  return made;
}

/// 60 photos in three class folders, and an index that follows them.
class Photos {
 public:
  Photos() { testing::make_tiny_images(folder_ / "photos"); }

  fs::path operator/(const std::string& name) const { return folder_ / name; }
  fs::path photo(const std::string& name) const { return folder_ / "photos" / name; }
  const fs::path& path() const { return folder_.path(); }

  Outcome sync(const std::vector<std::string>& more = {}, int status = 0,
               const std::string& model = models().path("3")) const {
    std::vector<std::string> words{"sync", (*this / "photos").string(), "--class-folders",
                                   "--model", model};
    words.insert(words.end(), more.begin(), more.end());
    return run(std::move(words), status);
  }
  /// `index WORDS... --index x --device cpu`
  Outcome run(std::vector<std::string> words, int status = 0) const {
    words.insert(words.begin(), "index");
    words.insert(words.end(), {"--index", (*this / "x").string()});
    const Outcome outcome = run_program(path(), words);
    CAPTURE(words, outcome.err, outcome.out);
    REQUIRE(outcome.status == status);
    return outcome;
  }
  retrieval::Index index() const { return retrieval::Index::open(*this / "x"); }

  struct Item {
    std::int64_t id;
    std::string label;
    std::uint64_t code;
    bool operator==(const Item&) const = default;
  };
  /// By path.
  std::map<std::string, Item> items() const {
    std::map<std::string, Item> all;
    const retrieval::Index open = index();
    for (std::int64_t row = 0; row < open.rows(); ++row) {
      if (!open.is_live(row)) continue;
      const retrieval::IndexItem item = open.item(row);
      const auto& labels = item.description.labels;
      all[item.description.path] = {item.id, labels.empty() ? "" : open.class_name(labels[0]),
                                    open.codes().row(row)[0]};
    }
    return all;
  }

 private:
  testing::TemporaryFolder folder_;
};

TEST_CASE("an index follows a folder: new, changed, moved, gone", "[index][sync]") {
  const Photos photos;
  CHECK_THAT(photos.sync({"--dry-run"}).out, Contains("new      blue/100.ppm\n") &&
                                                 Contains("60 new, 0 changed") &&
                                                 Contains("nothing was done"));
  CHECK_FALSE(fs::exists(photos / "x"));
  CHECK_THAT(photos.sync().out,
             Contains("x: 60 new, 0 changed, 0 moved, 0 gone, 0 as they were; ") &&
                 Contains(" images/s)"));
  const auto before = photos.items();
  REQUIRE(before.size() == 60);
  CHECK(before.at("red/119.ppm").label == "red");
  // The codes are those of a build.
  REQUIRE(run_program(photos.path(),
                      {"index", "build", "--model", models().path("3"), "--folder",
                       (photos / "photos").string(), "--out", (photos / "built").string()})
              .status == 0);
  const auto built = retrieval::Index::open(photos / "built");
  for (std::int64_t row = 0; row < built.rows(); ++row) {
    CHECK(before.at(built.item(row).description.path).code == built.codes().row(row)[0]);
  }

  fs::rename(photos.photo("red/100.ppm"), photos.photo("blue/moved.ppm"));
  fs::remove(photos.photo("red/101.ppm"));
  fs::copy_file(photos.photo("green/100.ppm"), photos.photo("red/102.ppm"),
                fs::copy_options::overwrite_existing);  // the same size
  fs::copy_file(photos.photo("green/100.ppm"), photos.photo("green/copy.ppm"));
  fs::last_write_time(photos.photo("red/103.ppm"), fs::file_time_type::clock::now());
  testing::write_text(photos.photo("red/bad.ppm"), "P6 words");
  const std::string plan = photos.sync({"--dry-run"}).out;
  CHECK_THAT(plan, Contains("new      green/copy.ppm\n") && Contains("new      red/bad.ppm\n") &&
                       Contains("changed  red/102.ppm\n") && Contains("touched  red/103.ppm\n") &&
                       Contains("moved    red/100.ppm -> blue/moved.ppm\n") &&
                       Contains("gone     red/101.ppm\n") &&
                       Contains("2 new, 1 changed, 1 moved, 1"));
  CHECK(photos.items() == before);
  const Outcome done = photos.sync();
  CHECK_THAT(done.out, Contains("x: 1 new, 1 changed, 1 moved, 1 gone, 57 as they were, 1 can't be "
                                "read"));
  CHECK_THAT(done.err, Contains("red/bad.ppm"));
  const auto after = photos.items();
  CHECK(after.size() == 60);
  CHECK(after.at("blue/moved.ppm").id == before.at("red/100.ppm").id);
  CHECK(after.at("blue/moved.ppm").code == before.at("red/100.ppm").code);
  CHECK(after.at("blue/moved.ppm").label == "blue");
  CHECK(after.count("red/101.ppm") == 0);
  CHECK(after.at("red/102.ppm").id == before.at("red/102.ppm").id);
  CHECK(after.at("red/102.ppm").code == before.at("green/100.ppm").code);
  CHECK(after.at("red/102.ppm").label == "red");
  CHECK(after.at("green/copy.ppm").code == before.at("green/100.ppm").code);
  CHECK(after.at("red/119.ppm") == before.at("red/119.ppm"));
  // What couldn't be read is tried again, and nothing else.
  fs::copy_file(photos.photo("red/104.ppm"), photos.photo("red/bad.ppm"),
                fs::copy_options::overwrite_existing);
  CHECK_THAT(photos.sync().out, Contains("x: 1 new, 0 changed, 0 moved, 0 gone, 60 as"));
  CHECK_THAT(photos.run({"duplicates", "--json"}).out,
             Contains("\"path\":\"red/bad.ppm\",\"same_bytes\":true") ||
                 Contains("\"path\":\"red/104.ppm\",\"same_bytes\":true"));
}

TEST_CASE("what moved isn't encoded again, even with its folder", "[index][sync]") {
  const Photos photos;
  photos.sync();
  const auto before = photos.items();
  fs::rename(photos.photo("red"), photos.photo("crimson"));
  // The other model would be refused if anything had to be encoded.
  CHECK_THAT(photos.sync({}, 0, models().path("4")).out, Contains("x: 0 new, 0 changed, 20 moved"));
  const auto after = photos.items();
  CHECK(after.at("crimson/100.ppm").id == before.at("red/100.ppm").id);
  CHECK(after.at("crimson/100.ppm").label == "crimson");
  fs::rename(photos / "photos", photos / "elsewhere");
  fs::create_directories(photos / "photos");
  CHECK_THAT(photos.sync({}, 2).err, Contains("holds no image, but the index has 60 items of it"));
  CHECK(photos.items().size() == 60);
  fs::remove(photos / "photos");
  fs::rename(photos / "elsewhere", photos / "photos");
  testing::write_text(photos.photo("crimson/new.ppm"),
                      testing::read_text(photos.photo("blue/100.ppm")));
  CHECK_THAT(photos.sync({}, 2, models().path("4")).err, Contains("codes of the model "));
  CHECK_THAT(photos.sync({"--allow-empty"}).out, Contains("x: 1 new, 0 changed, 0 moved, 0 gone"));
}

TEST_CASE("a folder behind a link whose disk is away keeps its items", "[index][sync]") {
  const Photos photos;
  fs::rename(photos.photo("red"), photos / "disk");
  fs::create_symlink(photos / "disk", photos.photo("red"));
  photos.sync();
  const auto before = photos.items();
  REQUIRE(before.size() == 60);
  fs::rename(photos / "disk", photos / "away");
  const Outcome outcome = photos.sync();
  CHECK_THAT(outcome.out, Contains("0 new, 0 changed, 0 moved, 0 gone"));
  CHECK_THAT(outcome.err, Contains("red: a link that leads nowhere"));
  fs::rename(photos / "away", photos / "disk");
  photos.sync();
  CHECK(photos.items().at("red/100.ppm").id == before.at("red/100.ppm").id);
}

TEST_CASE("there is no new index of a folder without images", "[index][sync]") {
  const Photos photos;
  const std::string empty = (photos / "empty").string();
  fs::create_directories(empty);
  for (const std::string more : {"--allow-empty", "--dry-run"}) {
    CHECK_THAT(
        photos.run({"sync", empty, "--model", models().path("3"), more}, 2).err,
        Contains(empty + ": it holds no image, and there is no index yet: is its disk there?"));
  }
  CHECK_FALSE(fs::exists(photos / "x"));
}

TEST_CASE("an index follows several folders, and a part of them", "[index][sync]") {
  const Photos photos;
  const std::string model = models().path("3");
  const auto sync = [&](std::vector<std::string> folders, int status = 0) {
    folders.insert(folders.begin(), "sync");
    folders.insert(folders.end(), {"--model", model});
    return photos.run(folders, status);
  };
  const std::string red = photos.photo("red").string(), blue = photos.photo("blue/").string();
  CHECK_THAT(sync({red, blue}).out, Contains("x: 40 new"));
  CHECK(photos.items().count("red/100.ppm") == 1);
  CHECK(photos.items().at("red/100.ppm").label.empty());
  fs::remove(photos.photo("red/100.ppm"));
  fs::remove(photos.photo("blue/100.ppm"));
  CHECK_THAT(sync({red}).out, Contains("x: 0 new, 0 changed, 0 moved, 1 gone, 19 as they were"));
  CHECK(photos.items().count("blue/100.ppm") == 1);  // of a folder that isn't looked at
  const std::string outside = (photos / "photos2").string();
  fs::create_directories(outside);
  CHECK_THAT(sync({outside}, 2).err,
             Contains("doesn't lie below " + (photos / "photos").string()) &&
                 Contains("--image-root " + photos.path().string()));
  // From another root all is found again by its content.
  CHECK_THAT(sync({red, blue, "--image-root", photos.path().string()}).out,
             Contains("x: 0 new, 0 changed, 38 moved, 0 gone"));
  CHECK(photos.items().count("photos/red/101.ppm") == 1);
  CHECK_THAT(sync({(photos / "none").string()}, 2).err, Contains("there is no such folder"));
}

TEST_CASE("a sync that is stopped goes on", "[index][sync]") {
  const Photos photos;
  std::vector<std::string> words{"index",
                                 "sync",
                                 (photos / "photos").string(),
                                 "--index",
                                 (photos / "x").string(),
                                 "--model",
                                 models().path("3"),
                                 "--batch",
                                 "1"};
  {
    testing::Program program(photos.path(), words);
    REQUIRE(testing::wait_for(
        [&] { return fs::exists(photos / "x/manifest.json") && photos.index().count() > 0; }));
    program.signal(SIGINT);
    const int status = program.wait();
    const auto count = photos.index().count();
    INFO(program.err());
    if (count < 60) {
      CHECK(status == 130);
      CHECK_THAT(program.err(), Contains("the same command goes on"));
    }
    CHECK_THAT(
        photos.run({"sync", (photos / "photos").string(), "--model", models().path("3")}).out,
        Contains("x: " + std::to_string(60 - count) + " new, 0 changed, 0 moved, 0 gone, " +
                 std::to_string(count) + " as they were"));
  }
  CHECK(photos.items().size() == 60);
}

TEST_CASE("a sync takes an index over that was built, and keeps what others put in",
          "[index][sync]") {
  const Photos photos;
  REQUIRE(
      run_program(photos.path(), {"index", "build", "--model", models().path("3"), "--class-folder",
                                  (photos / "photos").string(), "--out", (photos / "x").string()})
          .status == 0);
  photos.run({"update", "--id", "5", "--metadata", R"({"year":2020})"});
  photos.run({"update", "--id", "6", "--path", "of another/6.jpg"});
  const auto before = photos.items();
  CHECK_THAT(photos.sync().out, Contains("x: 1 new, 59 changed, 0 moved, 0 gone, 0 as they were"));
  const auto after = photos.items();
  CHECK(after.size() == 61);
  CHECK(after.at("of another/6.jpg") == before.at("of another/6.jpg"));
  CHECK(after.at("red/100.ppm") == before.at("red/100.ppm"));
  CHECK_THAT(photos.index().item(*photos.index().row_of(5)).description.metadata,
             Contains("\"year\":2020") && Contains("\"xxh64\""));
  CHECK_THAT(photos.sync().out, Contains("x: 0 new, 0 changed, 0 moved, 0 gone, 60 as they were"));
}

TEST_CASE("another model's codes take the place of the old ones", "[index][reencode]") {
  const Photos photos;
  photos.sync();
  const auto before = photos.items();
  photos.run({"snapshot", "--out", (photos / "s").string()});
  fs::remove(photos.photo("red/100.ppm"));
  const Outcome refused = photos.run({"reencode", "--model", models().path("4")}, 2);
  CHECK_THAT(refused.err, Contains("red/100.ppm is gone") &&
                              Contains("the files of 1 of 60 items aren't there") &&
                              Contains("--skip-gone"));
  CHECK(photos.items() == before);
  CHECK_THAT(photos.run({"reencode", "--model", models().path("4"), "--skip-gone"}).out,
             Contains("x: 59 items of the model ") && Contains("1 left out"));
  const auto after = photos.items();
  CHECK(after.size() == 59);
  int other = 0;
  for (const auto& [path, item] : after) {
    CHECK(item.id == before.at(path).id);
    CHECK(item.label == before.at(path).label);
    other += item.code != before.at(path).code;
  }
  CHECK(other > 30);
  CHECK_THAT(photos.sync({}, 0, models().path("4")).out, Contains("59 as they were"));
  CHECK(retrieval::Index::open(photos / "s").count() == 60);
  const Outcome snapshot = run_program(
      photos.path(), {"index", "reencode", (photos / "s").string(), "--model", models().path("4")});
  CHECK(snapshot.status == 2);
  CHECK_THAT(snapshot.err, Contains("it is a snapshot"));
}

TEST_CASE("what others change while codes are made anew isn't lost", "[index][reencode]") {
  const Photos photos;
  photos.sync();
  const auto model = pipeline::load_model(models().path("4"), kCpu, DType::f32);
  pipeline::ReencodeOptions options{.index = photos / "x"};
  options.encoder.batch = 64;
  int asked = 0;
  options.stop = [&] {
    // Before the first piece.
    if (asked++ == 0) {
      retrieval::IndexWriter writer(photos / "x");
      writer.remove(std::vector<std::int64_t>{0, 1});
      auto changed = writer.index().item(*writer.index().row_of(2)).description;
      changed.metadata = R"({"year":2020})";
      writer.update(2, changed);
      retrieval::ItemSet more = writer.index().contents(std::vector<std::int64_t>{5});
      more.set.names = {"red/100.ppm"};
      writer.add(more, retrieval::SameId::kRenumber);
      writer.compact();
    }
    return false;
  };
  CHECK(pipeline::reencode(*model, options).items == 59);
  const retrieval::Index index = photos.index();
  CHECK(index.manifest().model_hash == model->hash);
  CHECK_FALSE(index.row_of(0).has_value());
  CHECK_THAT(index.item(*index.row_of(2)).description.metadata, Contains("2020"));
  REQUIRE(index.row_of(60).has_value());
  CHECK(index.item(*index.row_of(60)).description.path == "red/100.ppm");
  options.stop = [] { return true; };
  CHECK(pipeline::reencode(*model, options).stopped);
  CHECK(photos.index().manifest().generation == index.manifest().generation);
}

}  // namespace
}  // namespace hh

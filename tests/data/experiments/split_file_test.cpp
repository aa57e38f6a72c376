// SPDX-License-Identifier: Apache-2.0
#include "data/experiments/split_file.h"

#include <catch2/catch.hpp>
#include <string>

#include "engine/files/file.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/text_file.h"

namespace hh::data {
namespace {

using Catch::Contains;
using testing::TemporaryFolder;
using Indices = std::vector<std::int64_t>;
using Names = std::vector<std::string>;

/// Images that nobody loads: their class is the first letter of the name.
std::unique_ptr<Dataset> images(const Names& names, Names class_names = {"a", "b"},
                                const std::filesystem::path& root = "/nowhere") {
  Labels labels(std::int64_t(names.size()), int(class_names.size()));
  std::vector<FileDataset::Item> items;
  for (std::size_t i = 0; i < names.size(); ++i) {
    labels.set(std::int64_t(i), names[i][0] - 'a');
    items.push_back({.path = names[i]});
  }
  return std::make_unique<FileDataset>(root, Names{}, std::move(items), std::move(labels),
                                       std::move(class_names), DecodeOptions{});
}

const Names kNames{"a1", "a2", "a3", "b1", "b2", "b3"};
const Split kSplit{.query = {0, 3}, .train = {2, 1, 5, 4}, .database = {1, 2, 4, 5}};

SavedSplit saved(const Dataset& set, const Split& split = kSplit, const Indices& held_out = {1}) {
  const TemporaryFolder folder;
  write_split(folder / "split.json", split, held_out, set, "folder", 7);
  return read_split(folder / "split.json");
}

TEST_CASE("a split is kept in a file with the names of its images", "[data][split]") {
  const auto set = images(kNames);
  const SavedSplit file = saved(*set);
  CHECK(file.names == kNames);
  const FittedSplit fitted = fit_split(file, *set, "folder", false, "split.json");
  CHECK(fitted.split.query == kSplit.query);
  CHECK(fitted.split.train == kSplit.train);
  CHECK(fitted.split.database == kSplit.database);
  CHECK(fitted.held_out == Indices{1});
  CHECK(fitted.train_rows == Indices{0, 1, 2});
  CHECK(fitted.notes.empty());
  CHECK_THROWS_WITH(fit_split(file, *set, "lists", true, "split.json"),
                    Contains("split.json: it is of protocol \"folder\"; wanted: \"lists\""));
}

TEST_CASE("one image out and one in: what changed is named and refused", "[data][split]") {
  const SavedSplit file = saved(*images(kNames));
  // Positions alone would call a1's neighbours by other names.
  const auto shifted = images({"a0", "a1", "a2", "a3", "b1", "b3"});
  CHECK_THROWS_WITH(fit_split(file, *shifted, "folder", false, "run/split.json"),
                    Contains("run/split.json: the data set isn't what it was: 1 image (b2) gone, "
                             "1 image (a0) new") &&
                        Contains("--allow-changed-data"));
  const FittedSplit fitted = fit_split(file, *shifted, "folder", true, "split.json");
  CHECK(fitted.split.query == Indices{1, 4});     // a1, b1 still
  CHECK(fitted.split.train == Indices{3, 2, 5});  // a3, a2, b3; b2 is gone, a0 is in no part
  CHECK(fitted.split.database == Indices{2, 3, 5});
  CHECK(fitted.held_out == Indices{2});
  CHECK(fitted.train_rows == Indices{0, 1});  // of a3, b3, b2, which were trained on
  REQUIRE(fitted.notes.size() == 1);
  CHECK_THAT(fitted.notes[0], Contains("going on") && Contains("b2") && Contains("a0"));
}

/// Real files of 10, 11, 12, ... bytes, and the data set of them.
class Files {
 public:
  explicit Files(const Names& names) : names_(names) {
    for (std::size_t i = 0; i < names.size(); ++i) write(names[i], 10 + i);
  }
  void write(const std::string& name, std::size_t bytes) const {
    testing::write_text(folder_ / name, std::string(bytes, 'x'));
  }
  void swap(const std::string& a, const std::string& b) const {
    std::filesystem::rename(folder_ / a, folder_ / "other");
    std::filesystem::rename(folder_ / b, folder_ / a);
    std::filesystem::rename(folder_ / "other", folder_ / b);
  }
  void remove(const std::string& name) const { std::filesystem::remove(folder_ / name); }
  std::unique_ptr<Dataset> set() const { return images(names_, {"a", "b"}, folder_.path()); }

 private:
  Names names_;
  TemporaryFolder folder_;
};

TEST_CASE("a query and a training image exchanged by renaming are told by size", "[data][split]") {
  const Files files(kNames);
  const SavedSplit file = saved(*files.set());
  CHECK(file.sizes == Indices{10, 11, 12, 13, 14, 15});
  CHECK(fit_split(file, *files.set(), "folder", false, "s").notes.empty());
  files.swap("a1", "a2");
  CHECK_THROWS_WITH(fit_split(file, *files.set(), "folder", false, "run/split.json"),
                    Contains("run/split.json: the data set isn't what it was: 2 images aren't the "
                             "files that they were: a1 (was 10 bytes, is 11), a2 (was 11 bytes, "
                             "is 10). Put it back") &&
                        Contains("--allow-changed-data"));
  const FittedSplit fitted = fit_split(file, *files.set(), "folder", true, "s");
  CHECK(fitted.split.query == Indices{3});
  CHECK(fitted.split.train == Indices{2, 5, 4});
  CHECK(fitted.split.database == Indices{2, 4, 5});
  CHECK(fitted.held_out.empty());  // it was a2
  REQUIRE(fitted.notes.size() == 1);
  CHECK_THAT(fitted.notes[0], Contains("going on") && Contains("a2 (was 11 bytes"));
}

TEST_CASE("an overwritten file is told when an image of the split is in it", "[data][split]") {
  const Files files(kNames);
  // b3 is in no part.
  const SavedSplit file = saved(*files.set(), {{0, 3}, {2, 1, 4}, {1, 2, 4}}, {1});
  files.write("b3", 99);
  CHECK(fit_split(file, *files.set(), "folder", false, "s").notes.empty());
  files.remove("b1");  // what isn't there is found when it is read
  CHECK(fit_split(file, *files.set(), "folder", false, "s").notes.empty());
  files.write("b2", 1);
  CHECK_THROWS_WITH(fit_split(file, *files.set(), "folder", false, "s"),
                    Contains("1 image isn't the file that it was: b2 (was 14 bytes, is 1)"));
  CHECK(fit_split(file, *files.set(), "folder", true, "s").train_rows == Indices{0});
  for (const char* name : {"a2", "a3"}) files.write(name, 50);
  CHECK_THROWS_WITH(fit_split(file, *files.set(), "folder", true, "s"),
                    Contains("of its training images none is left: 3 images aren't the files"));
}

TEST_CASE("a split without sizes compares none", "[data][split]") {
  const Files files(kNames);
  SavedSplit old = saved(*files.set());
  old.sizes.clear();  // as read from a file of an older version
  files.swap("a1", "a2");
  CHECK(fit_split(old, *files.set(), "folder", false, "s").split.train == kSplit.train);
  CHECK(saved(*images({"a1", "b1"}), {{0}, {1}, {1}}, {}).sizes.empty());  // no files: no field
}

TEST_CASE("images in another order are still the same ones", "[data][split]") {
  const SavedSplit file = saved(*images(kNames));
  const auto turned = images({"b3", "b2", "b1", "a3", "a2", "a1"});
  const FittedSplit fitted = fit_split(file, *turned, "folder", false, "split.json");
  CHECK(fitted.split.query == Indices{5, 2});
  CHECK(fitted.split.train == Indices{3, 4, 0, 1});
  CHECK(fitted.notes.empty());
}

TEST_CASE("an image that is listed twice is two items", "[data][split]") {
  const SavedSplit file = saved(*images({"a1", "b1", "a1"}), {{1}, {0}, {2}}, {});
  const auto set = images({"b1", "a1", "a1"});
  CHECK(fit_split(file, *set, "folder", false, "s").split.train == Indices{1});
  CHECK(fit_split(file, *set, "folder", false, "s").split.database == Indices{2});
  CHECK_THROWS_WITH(fit_split(file, *images({"b1", "a1"}), "folder", false, "s"),
                    Contains("1 image (a1) gone"));
}

TEST_CASE("other labels and other classes are told", "[data][split]") {
  const SavedSplit file = saved(*images({"a1", "b1"}), {{0}, {1}, {1}}, {});
  Labels labels(2, 2);
  labels.set(0, 1);
  labels.set(1, 1);
  const FileDataset moved("", Names{}, {{.path = "a1"}, {.path = "b1"}}, std::move(labels),
                          {"a", "b"}, {});
  CHECK_THROWS_WITH(fit_split(file, moved, "folder", false, "s"),
                    Contains("labels of some images"));
  CHECK(fit_split(file, moved, "folder", true, "s").notes.size() == 1);
  const auto more = images({"a1", "b1"}, {"a", "b", "c"});
  CHECK_THROWS_WITH(fit_split(file, *more, "folder", true, "s"),
                    Contains("the classes are other ones: 0 gone, 1 new; new: c"));
}

TEST_CASE("names that aren't UTF-8 are found again", "[data][split]") {
  const auto set = images({"a\xe9", "b\xe9"});
  const SavedSplit file = saved(*set, {{0}, {1}, {1}}, {});
  CHECK(fit_split(file, *set, "folder", false, "s").split.query == Indices{0});
}

TEST_CASE("a split of positions alone is read, with a word", "[data][split]") {
  const SavedSplit file = parse_split(
      R"({"format": "hybridhash split 1", "protocol": "folder", "seed": 1, "items": 6,
          "query": [0], "database": [3], "train": [1, 2]})");
  const FittedSplit fitted = fit_split(file, *images(kNames), "folder", false, "split.json");
  CHECK(fitted.split.train == Indices{1, 2});
  REQUIRE(fitted.notes.size() == 1);
  CHECK_THAT(fitted.notes[0], Contains("positions alone") && Contains("can't be checked"));
  CHECK_THROWS_WITH(fit_split(file, *images({"a1"}), "folder", true, "split.json"),
                    Contains("it is of 6 images, and the data set has 1"));
}

TEST_CASE("broken split files are refused", "[data][split]") {
  const TemporaryFolder folder;
  const auto path = folder / "split.json";
  const auto refuse = [&](const std::string& text, const std::string& what) {
    testing::write_text(path, text);
    INFO(text);
    REQUIRE_THROWS_AS(read_split(path), std::runtime_error);
    REQUIRE_THROWS_WITH(read_split(path), Contains("split.json") && Contains(what));
  };
  const auto one = [](const std::string& train) {
    return R"({"format": "hybridhash split 1", "protocol": "p", "seed": 1, "items": 9,
               "query": [0], "database": [], "train": )" +
           train + "}";
  };
  testing::write_text(path, one("[1, 2]"));
  REQUIRE(read_split(path).split.train == Indices{1, 2});
  refuse("\xff\xd8\xff\xe0 JFIF", "it is a JPEG image; a split is the split.json");
  refuse(one("[1"), "a split is the split.json");
  refuse("", "isn't JSON from byte");
  refuse("[]", "an object is wanted, not array");
  refuse("{}", "format");
  refuse(R"({"format": "other"})", "its format is \"other\"");
  refuse(one("null"), "train is no array");
  refuse(one("[1.5]"), "train holds 1.5");
  refuse(one("[true]"), "train holds true");
  refuse(one("[9]"), "train holds item 9");
  refuse(one("[18446744073709551615]"), "train holds item");
  refuse(one("[1, 1]"), "twice");
  refuse(one("[0]"), "is a query");
  refuse(one("[1"), "isn't JSON from byte");
  refuse(std::string(100'000, '['), "split.json");
  const auto two = [](const std::string& names, const std::string& held_out,
                      const std::string& items = "3") {
    return R"({"format": "hybridhash split 2", "protocol": "p", "seed": 1, "items": )" + items +
           R"(, "query": [0], "database": [], "train": [1], "labels": "", "class_names": [],
               "held_out": )" +
           held_out + R"(, "names": )" + names + "}";
  };
  testing::write_text(path, two(R"(["a", "b", "c"])", "[1]"));
  REQUIRE(read_split(path).held_out == Indices{1});
  refuse(two(R"(["a", "b"])", "[]"), "it names 2 images, not 3");
  refuse(two(R"(["a", "b", 3])", "[]"), "names holds 3");
  refuse(two(R"(["a", "b", "c"], "sizes": [1, 2])", "[]"), "it has 2 sizes for 3 images");
  refuse(two(R"(["a", "b", "c"], "sizes": [1, 2, "3"])", "[]"), "sizes holds \"3\"");
  refuse(two(R"(["a", "b", "c"])", "[2]"), "held_out holds item 2");
  refuse(two(R"(["a", "b", "c"])", "[1, 1]"), "held_out holds item 1");
  refuse(one("[1]").replace(one("[1]").find("9"), 1, "9000000000000"), "items is 9000000000000");
  REQUIRE_THROWS_WITH(read_split(folder / "none.json"), Contains("none.json"));
}

}  // namespace
}  // namespace hh::data

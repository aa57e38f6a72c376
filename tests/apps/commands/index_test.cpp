// SPDX-License-Identifier: Apache-2.0
// hybridhash index, as a user runs it.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "retrieval/files/item_files.h"
#include "retrieval/files/npy.h"
#include "tests/apps/program.h"
#include "tests/support/codes.h"
#include "tests/support/temporary_folder.h"

namespace hh {
namespace {

using Catch::Contains;
using testing::Outcome, testing::run_program;

class Folder {
 public:
  std::string operator/(const std::string& name) const { return (folder_ / name).string(); }

  std::string run(std::vector<std::string> words, int status = 0) const {
    words.insert(words.begin(), "index");
    const Outcome outcome = run_program(folder_.path(), words);
    CAPTURE(words, outcome.err);
    REQUIRE(outcome.status == status);
    return status == 0 ? outcome.out : outcome.err;
  }
  const std::filesystem::path& path() const { return folder_.path(); }
  nlohmann::json info(const std::string& name) const {
    return nlohmann::json::parse(run({"info", *this / name, "--json"}));
  }

 private:
  testing::TemporaryFolder folder_;
};

/// A code file of n items with ids first, first + 1, ..., classes by turns and names.
void write_codes(const std::string& path, std::int64_t first, std::int64_t n,
                 const std::string& model) {
  retrieval::CodeSet set;
  const auto words = testing::codes(first + n, 32, 5);
  set.codes.append({words.data() + first, n, 32});
  set.classes = 2;
  set.class_names = {"cat", "dog"};
  set.model_hash = model;
  for (std::int64_t i = first; i < first + n; ++i) {
    set.ids.push_back(i);
    set.names.push_back("n" + std::to_string(i) + ".png");
    set.labels.push_back(std::uint64_t{1} << (i % 2));
  }
  retrieval::write_code_file(path, set);
}

/// Items of the classes a, b, c, ... by turns.
void write_classes(const std::string& path, std::int64_t first,
                   const std::vector<std::string>& names) {
  retrieval::CodeSet set;
  const auto n = std::int64_t(names.size());
  const auto words = testing::codes(first + n, 32, 5);
  set.codes.append({words.data() + first, n, 32});
  set.classes = int(n);
  set.class_names = names;
  for (std::int64_t i = 0; i < n; ++i) {
    set.ids.push_back(first + i);
    set.names.push_back(names[std::size_t(i)] + ".png");
    set.labels.push_back(std::uint64_t{1} << i);
  }
  retrieval::write_code_file(path, set);
}

TEST_CASE("classes enter an index by their names", "[index]") {
  const Folder folder;
  write_classes(folder / "a.codes", 0, {"cat", "dog", "fish"});
  write_classes(folder / "b.codes", 10, {"ant", "dog", "cat"});
  write_classes(folder / "c.codes", 20, {"fish", "cat", "dog"});
  for (const char* name : {"a", "b", "c"}) {
    folder.run(
        {"build", "--codes", folder / (name + std::string(".codes")), "--out", folder / name});
  }
  // Each item was named after its class.
  const auto check = [&](const std::string& index, const std::vector<std::string>& names) {
    CHECK(folder.info(index).at("class_names") == nlohmann::json(names));
    const retrieval::ItemSet items = retrieval::Index::open(folder / index).contents();
    for (std::int64_t i = 0; i < items.set.count(); ++i) {
      for (int c = 0; c < items.set.classes; ++c) {
        CAPTURE(i, c);
        CHECK(items.set.label_view().has(i, c) ==
              (items.set.name(i) == names[std::size_t(c)] + ".png"));
      }
    }
  };
  const Outcome added =
      run_program(folder / "", {"index", "add", folder / "a", "--codes", folder / "b.codes"});
  REQUIRE(added.status == 0);
  CHECK_THAT(added.err, Contains("matched by name; new in the index: 'ant'"));
  check("a", {"cat", "dog", "fish", "ant"});
  const Outcome merged = run_program(folder / "", {"index", "merge", folder / "a", folder / "c"});
  REQUIRE(merged.status == 0);
  CHECK_THAT(merged.err, Contains("matched by name\n"));
  check("a", {"cat", "dog", "fish", "ant"});
  // None in common, as a folder of new things has.
  folder.run({"merge", folder / "c", folder / "b"});
  check("c", {"fish", "cat", "dog", "ant"});
  write_classes(folder / "twice.codes", 30, {"ant", "ant"});
  CHECK_THAT(folder.run({"add", folder / "c", "--codes", folder / "twice.codes"}, 2),
             Contains("two classes of the codes are called 'ant'"));
}

TEST_CASE("an index is built, changed, described and exported", "[index]") {
  const Folder folder;
  write_codes(folder / "a.codes", 0, 10, "aaaa");
  write_codes(folder / "b.codes", 8, 4, "aaaa");
  write_codes(folder / "other.codes", 20, 1, "bbbb");
  const std::string index = folder / "x.index";
  CHECK_THAT(folder.run({"build", "--codes", folder / "a.codes", "--out", index}),
             Contains("10 items of 32 bits"));
  CHECK_THAT(folder.run({"build", "--codes", folder / "a.codes", "--out", index}, 2),
             Contains("--overwrite"));
  CHECK_THAT(folder.run({"add", index, "--codes", folder / "other.codes"}, 2),
             Contains("one model"));
  CHECK_THAT(folder.run({"add", index, "--codes", folder / "b.codes"}, 2), Contains("--renumber"));
  CHECK_THAT(folder.run({"add", "--index", index, "--codes", folder / "b.codes", "--replace"}),
             Contains("4 items added in place of 2; 12 items"));
  CHECK_THAT(folder.run({"delete", index, "--ids", "1,3,77"}), Contains("2 items deleted; 10"));
  CHECK_THAT(folder.run({"delete", index, "--filter", "label=dog", "--filter", "id<8"}),
             Contains("2 items deleted; 8"));
  folder.run({"update", index, "--id", "4", "--label", "dog", "--metadata", R"({"year":2020})"});
  CHECK_THAT(folder.run({"update", index, "--id", "5"}, 2), Contains("no item with id 5"));
  const auto info = folder.info("x.index");
  CHECK(info.at("items") == 8);
  CHECK(info.at("bits") == 32);
  CHECK(info.at("deleted") == 7);
  CHECK(info.at("model") == "aaaa");
  CHECK(info.at("class_names") == nlohmann::json({"cat", "dog"}));
  CHECK_THAT(folder.run({"info", index}), Contains("check sums are right") && Contains("cat, dog"));
  CHECK_THAT(folder.run({"compact", index}), Contains("7 deleted rows removed; 8 items"));
  CHECK(folder.info("x.index").at("deleted") == 0);

  folder.run({"export", index, "--out", folder / "x.csv"});
  const auto csv = retrieval::read_items(folder / "x.csv");
  CHECK(csv.set.ids == std::vector<std::int64_t>{0, 2, 6, 8, 9, 10, 11, 4});
  CHECK(csv.set.names[7] == "n4.png");
  CHECK(csv.metadata[7] == R"({"year":2020})");
  CHECK(csv.set.label_view().has(7, 1));
  for (const char* file : {"x.npy", "x.faiss", "x.codes", "x.csv"}) {
    CAPTURE(file);
    folder.run({"export", index, "--out", folder / file});
    const auto back = retrieval::read_items(folder / file);
    CHECK(back.set.codes.to_bytes() == csv.set.codes.to_bytes());
  }
  folder.run({"export", index, "--out", folder / "x.copy"});
  folder.run({"export", index, "--out", folder / "x.txt", "--format", "milvus"});
  CHECK_THAT(testing::read_text(folder / "x.copy"), Contains("n4.png\t{1}\t{\"year\":2020}"));
  CHECK_THAT(testing::read_text(folder / "x.txt"), Contains("{\"id\":0,\"code\":["));

  folder.run({"build", "--codes", folder / "x.csv", "--out", folder / "y.index"});
  CHECK_THAT(folder.run({"merge", folder / "y.index", index, "--renumber"}),
             Contains("8 items of 1 index added; 16 items"));
  CHECK_THAT(folder.run({"merge", folder / "y.index", index}, 2), Contains("--renumber"));
  CHECK(folder.info("y.index").at("next_id") == 20);
}

TEST_CASE("an index of a plain array", "[index]") {
  const Folder folder;
  const std::vector<std::uint8_t> bytes{1, 2, 3, 4, 5, 6};
  retrieval::write_npy<std::uint8_t>(folder / "db.npy", std::vector<std::int64_t>{2, 3}, bytes);
  folder.run({"build", "--codes", folder / "db.npy", "--out", folder / "new/x"});
  CHECK(folder.info("new/x").at("items") == 2);
  CHECK(folder.info("new/x").at("bits") == 24);
  folder.run({"export", folder / "new/x", "--out", folder / "back.npy"});
  CHECK(retrieval::read_npy<std::uint8_t>(folder / "back.npy").values == bytes);
}

TEST_CASE("codes that fill no byte keep their length through every format", "[index]") {
  const Folder folder;
  const std::string index = folder / "x.index";
  for (const int bits : {5, 12, 100}) {
    CAPTURE(bits);
    retrieval::CodeSet set;
    const auto words = testing::codes(4, bits, 5);
    set.codes.append({words.data(), 4, bits});
    set.ids = {0, 1, 2, 3};
    retrieval::write_code_file(folder / "x.codes", set);
    folder.run({"build", "--codes", folder / "x.codes", "--out", index, "--overwrite"});
    const std::string length = std::to_string(bits);
    for (const std::string file : {"x.npy", "x.faiss", "x.csv"}) {
      CAPTURE(file);
      CHECK_THAT(folder.run({"export", index, "--out", folder / file}),
                 Contains("--bits " + length));
      folder.run({"build", "--codes", folder / file, "--bits", length, "--out", folder / "y.index",
                  "--overwrite"});
      CHECK(folder.info("y.index").at("bits") == bits);
      folder.run({"add", index, "--codes", folder / file, "--renumber"});
      const Outcome found =
          run_program(folder.path(), {"search", "--index", index, "--codes", folder / file});
      CHECK(found.err == "");
      CHECK(found.status == 0);
    }
  }
  // Codes of more bits than the index has are another model's.
  const std::vector<std::uint8_t> full(26, 255);
  retrieval::write_npy<std::uint8_t>(folder / "full.npy", std::vector<std::int64_t>{2, 13}, full);
  CHECK_THAT(folder.run({"add", index, "--codes", folder / "full.npy", "--renumber"}, 2),
             Contains("full.npy: its codes have 104 bits, and some behind the first 100"));
  CHECK_THAT(folder.run({"build", "--codes", folder / "full.npy", "--bits", "96", "--out",
                         folder / "z.index"},
                        2),
             Contains("--bits 96") && Contains("have 104 bits"));
}

TEST_CASE("mistakes with indexes are answered in one line", "[index]") {
  const Folder folder;
  testing::write_text(folder / "noise", std::string(100, '\xa5'));
  CHECK_THAT(folder.run({"info", folder / "none"}, 2), Contains("no such index"));
  CHECK_THAT(folder.run({"build", "--codes", folder / "noise", "--out", folder / "x"}, 2),
             Contains("noise"));
  CHECK_THAT(folder.run({"build", "--out", folder / "x"}, 2), Contains("--codes"));
  CHECK_THAT(folder.run({"delete", folder / "none"}, 2), Contains("--ids"));
  CHECK_THAT(folder.run({}, 2), Contains("subcommand"));
  CHECK(!std::filesystem::exists(folder / "x"));
}

}  // namespace
}  // namespace hh

// SPDX-License-Identifier: Apache-2.0
// hybridhash dataset check on lists whose faults are known one by one.
#include <algorithm>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/apps/program.h"
#include "tests/support/images.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_data.h"

namespace hh {
namespace {

using Catch::Contains;
using nlohmann::json;
using testing::Outcome, testing::run_program;

/// A grey image of 2 x 2 pixels.
std::string picture(char value) { return "P5\n2 2\n255\n" + std::string(4, value); }
/// The same pixels in other bytes.
std::string picture_with_comment(char value) {
  return "P5\n# another file\n2 2\n255\n" + std::string(4, value);
}

TEST_CASE("dataset check and train refuse a folder of one class", "[dataset]") {
  const testing::TemporaryFolder folder;
  testing::make_tiny_images(folder / "o/x");
  const std::string data = folder / "o";
  testing::write_text(folder / "tiny.toml", testing::tiny_recipe(data));
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"dataset", "check", "--protocol", "folder", "--data", data},
        {"train", folder / "tiny.toml", "--out", folder / "run", "--device", "cpu"}}) {
    const Outcome outcome = run_program(folder.path(), words);
    CHECK(outcome.status == 2);
    CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
    CHECK_THAT(outcome.err, Contains("one class alone, x") &&
                                Contains("(data.path=" + (folder / "o/x").string() + ")"));
  }
}

class Lists {
 public:
  Lists() {
    for (char c = 'a'; c <= 'f'; ++c) {
      testing::write_text(folder_ / (std::string(1, c) + ".pgm"), picture(c));
    }
    write("a.pgm 1 0\nb.pgm 0 1\n", "c.pgm 1 0\nd.pgm 0 1\n", "e.pgm 1 0\nf.pgm 0 1\n");
  }
  void write(const std::string& test, const std::string& train, const std::string& database) const {
    testing::write_text(folder_ / "test.txt", test);
    testing::write_text(folder_ / "train.txt", train);
    testing::write_text(folder_ / "database.txt", database);
  }
  void write(const std::string& name, const std::string& bytes) const {
    testing::write_text(folder_ / name, bytes);
  }
  Outcome check(std::vector<std::string> more = {}) const {
    std::vector<std::string> words{"dataset", "check",  "--protocol",   "lists",
                                   "--data",  folder(), "--image-root", folder()};
    words.insert(words.end(), more.begin(), more.end());
    return run_program(folder_.path(), words);
  }
  json check_json(int status, std::vector<std::string> more = {}) const {
    more.push_back("--json");
    const Outcome outcome = check(more);
    CAPTURE(outcome.err, outcome.out);
    CHECK(outcome.status == status);
    CHECK((outcome.err.empty() || outcome.err.starts_with("hybridhash: warning: unreadable: ")));
    json answer = json::parse(outcome.out);
    CHECK(answer.at("ok") == (status == 0));
    CHECK(answer.at("problems").empty() == (status == 0));
    return answer;
  }
  std::string folder() const { return folder_.path().string(); }

 private:
  testing::TemporaryFolder folder_;
};

std::int64_t in_part(const json& answer, int part, const char* what) {
  return answer.at("parts").at(std::size_t(part)).at(what).at("count");
}
std::int64_t in_both(const json& answer, int pair, const char* what) {
  return answer.at("overlaps").at(std::size_t(pair)).at(what).at("count");
}
constexpr int kQuery = 0, kTrain = 1, kDatabase = 2;
constexpr int kQueryTrain = 0, kQueryDatabase = 1, kTrainDatabase = 2;

/// Sum of everything that is counted, so that a test sees that there is nothing else.
std::int64_t everything(const json& answer) {
  std::int64_t sum = 0;
  for (int p = 0; p < 3; ++p) {
    for (const char* what :
         {"unlabelled", "missing", "unreadable", "repeated_path", "repeated_content"}) {
      sum += in_part(answer, p, what);
    }
    sum += in_both(answer, p, "path") + in_both(answer, p, "content");
  }
  return sum;
}

TEST_CASE("a data set without faults passes", "[dataset]") {
  const Lists lists;
  for (const char* content : {"decoded", "bytes", "pixels", "none"}) {
    const json answer = lists.check_json(0, {"--content", content});
    CHECK(everything(answer) == 0);
    CHECK(answer.at("content") == content);
    CHECK(answer.at("classes") == 2);
    for (const json& part : answer.at("parts")) CHECK(part.at("items") == 2);
  }
  const Outcome text = lists.check();
  CHECK(text.status == 0);
  CHECK_THAT(text.out, Contains("nothing is wrong") && Contains("query, database"));
}

TEST_CASE("an image that is cut off is found and named, unless bytes alone are read", "[dataset]") {
  const Lists lists;
  const auto jpeg = testing::encode_jpeg(testing::picture(40, 40, 3));
  lists.write("a.pgm", testing::as_text(jpeg).substr(0, jpeg.size() / 2));
  lists.write("d.pgm", "<html>");
  const json answer = lists.check_json(1, {});
  CHECK(answer.at("content") == "decoded");
  CHECK(in_part(answer, kQuery, "unreadable") == 1);
  CHECK(in_part(answer, kTrain, "unreadable") == 1);
  CHECK(everything(answer) == 2);
  const Outcome text = lists.check();
  CHECK(text.status == 1);
  CHECK_THAT(text.out,
             Contains("wrong: 1 image of query unreadable (first: ") && Contains("a.pgm"));
  CHECK_THAT(text.err, Contains("a.pgm: JPEG: ") && Contains("d.pgm: it is an HTML page"));
  CHECK(everything(lists.check_json(0, {"--content", "bytes"})) == 0);
}

TEST_CASE("a query elsewhere is found by path, however it is spelt", "[dataset]") {
  const Lists lists;
  lists.write("a.pgm 1 0\nb.pgm 0 1\n", "./a.pgm 1 0\nd.pgm 0 1\n", "e.pgm 1 0\nb.pgm 0 1\n");
  for (const char* content : {"decoded", "bytes", "none"}) {
    const json answer = lists.check_json(1, {"--content", content});
    const bool read = content != std::string("none");
    CHECK(in_both(answer, kQueryTrain, "path") == 1);
    CHECK(in_both(answer, kQueryDatabase, "path") == 1);
    CHECK(in_both(answer, kQueryTrain, "content") == read);
    CHECK(in_both(answer, kQueryDatabase, "content") == read);
    CHECK(everything(answer) == 2 + 2 * read);
  }
}

TEST_CASE("a copy under another name is found by bytes, a re-saved one by pixels", "[dataset]") {
  const Lists lists;
  lists.write("d.pgm", picture('a'));
  lists.write("e.pgm", picture_with_comment('b'));
  const json bytes = lists.check_json(1);
  CHECK(in_both(bytes, kQueryTrain, "content") == 1);
  CHECK(everything(bytes) == 1);
  const json pixels = lists.check_json(1, {"--content", "pixels"});
  CHECK(in_both(pixels, kQueryTrain, "content") == 1);
  CHECK(in_both(pixels, kQueryDatabase, "content") == 1);
  CHECK(everything(pixels) == 2);
  lists.check_json(0, {"--content", "none"});
  CHECK_THAT(lists.check().out,
             Contains("wrong: 1 image of query also in train, by content (first: ") &&
                 Contains("test.txt:1: a.pgm"));
}

TEST_CASE("training images in the database are told, but are no fault", "[dataset]") {
  const Lists lists;
  lists.write("a.pgm 1 0\nb.pgm 0 1\n", "c.pgm 1 0\nd.pgm 0 1\n",
              "c.pgm 1 0\nd.pgm 0 1\nf.pgm 0 1\n");
  const json answer = lists.check_json(0);
  CHECK(in_both(answer, kTrainDatabase, "path") == 2);
  CHECK(in_both(answer, kTrainDatabase, "content") == 2);
  CHECK(answer.at("overlaps").at(kTrainDatabase).at("wrong") == false);
  CHECK(everything(answer) == 4);
}

TEST_CASE("repeated, unlabelled, missing and unreadable images are told apart", "[dataset]") {
  const Lists lists;
  lists.write("d.pgm", picture('c'));
  lists.write("f.pgm", "P5\n2 2\n255\nx");  // cut short
  lists.write("a.pgm 1 0\nb.pgm 0 0\n", "c.pgm 1 0\nd.pgm 0 1\nc.pgm 1 0\n",
              "e.pgm 1 0\nf.pgm 0 1\nnowhere.pgm 0 1\n");
  const json answer = lists.check_json(1, {"--content", "pixels"});
  CHECK(in_part(answer, kQuery, "unlabelled") == 1);
  CHECK(in_part(answer, kTrain, "repeated_path") == 1);
  CHECK(in_part(answer, kTrain, "repeated_content") == 2);  // d and the second c
  CHECK(in_part(answer, kDatabase, "missing") == 1);
  CHECK(in_part(answer, kDatabase, "unreadable") == 1);
  CHECK(everything(answer) == 6);
  CHECK(answer.at("problems").size() == 5);
}

TEST_CASE("dataset check tells what a cache holds, and what is stale in it", "[dataset]") {
  const testing::TemporaryFolder folder;
  testing::make_tiny_images(folder / "images");
  testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "images"));
  const std::string cache = "data.cache=" + (folder / "cache").string();
  const auto check = [&] {
    return run_program(folder.path(), {"dataset", "check", folder / "tiny.toml", "--set", cache});
  };
  CHECK_THAT(check().out, Contains(".cache: 0 of 60 image files"));
  REQUIRE(run_program(folder.path(), {"train", folder / "tiny.toml", "--out", folder / "run",
                                      "--set", cache, "--set", "train.epochs=1", "--device", "cpu"})
              .status == 0);
  const Outcome whole = check();
  CHECK(whole.status == 0);
  CHECK_THAT(whole.out, Contains(".cache: 60 of 60 image files") && Contains("0 changed since") &&
                            Contains("nothing is wrong"));
  testing::write_text(folder / "images/red/100.ppm", "P6\n1 1\n255\nabc");
  const Outcome changed = check();
  CHECK(changed.status == 0);
  CHECK_THAT(changed.out, Contains(".cache: 59 of 60 image files") && Contains("1 changed since"));
}

TEST_CASE("counts are held against the protocol's", "[dataset]") {
  const Lists lists;
  const Outcome outcome =
      run_program(lists.folder(), {"dataset", "check", "--protocol", "imagenet", "--data",
                                   lists.folder(), "--image-root", lists.folder()});
  CHECK(outcome.status == 1);
  CHECK_THAT(outcome.out, Contains("wrong: 2 classes; the protocol has 100\n") &&
                              Contains("wrong: 2 query images; the protocol has 5000\n") &&
                              Contains("wrong: 2 train images; the protocol has 13000\n") &&
                              Contains("wrong: 2 database images; the protocol has 128503\n"));
}

TEST_CASE("a recipe's data set is checked with its split", "[dataset]") {
  const testing::TemporaryFolder folder;
  testing::make_tiny_images(folder / "images");
  testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "images"));
  const std::string recipe = (folder / "tiny.toml").string();
  const Outcome outcome = run_program(folder.path(), {"dataset", "check", recipe, "--json"});
  CAPTURE(outcome.err);
  CHECK(outcome.status == 0);
  const json answer = json::parse(outcome.out);
  CHECK(answer.at("parts").at(kQuery).at("items") == 12);
  // Without train_per_class the database is the training set.
  CHECK(in_both(answer, kTrainDatabase, "path") == 48);
  CHECK(everything(answer) == 96);
  // Threads change nothing.
  CHECK(run_program(folder.path(), {"dataset", "check", recipe, "--json", "--threads", "1"}).out ==
        outcome.out);
}

TEST_CASE("mistakes with data sets are answered in one line", "[dataset]") {
  const testing::TemporaryFolder folder;
  const std::vector<std::pair<std::vector<std::string>, std::string>> mistakes{
      {{"dataset"}, "subcommand"},
      {{"dataset", "check"}, "--protocol"},
      {{"dataset", "check", "--protocol", "mnist"}, "mnist"},
      {{"dataset", "check", "--protocol", "lists", "--data", "/nowhere"}, "/nowhere"},
      {{"dataset", "check", "--protocol", "lists", "--content", "smell"}, "smell"},
  };
  for (const auto& [words, reason] : mistakes) {
    const Outcome outcome = run_program(folder.path(), words);
    CAPTURE(outcome.err, reason);
    CHECK(outcome.status == 2);
    CHECK(outcome.out.empty());
    CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
    CHECK_THAT(outcome.err, Catch::StartsWith("hybridhash: ") && Contains(reason));
  }
}

}  // namespace
}  // namespace hh

// SPDX-License-Identifier: Apache-2.0
#include "data/sets/list_file.h"

#include <catch2/catch.hpp>
#include <string>

#include "engine/files/file.h"
#include "tests/support/images.h"
#include "tests/support/temporary_folder.h"

namespace hh::data {
namespace {

using Catch::Contains;
using testing::as_text;
using testing::encode_png;
using testing::picture;
using testing::TemporaryFolder;

TEST_CASE("lists: paths, lines and multi-hot labels", "[data][list]") {
  const ImageList list = parse_list("a/b.jpg 0 1 1\n\n  c.png\t1 0 0  \nd.jpg 0 0 0", "x.txt");
  REQUIRE(list.columns == 3);
  REQUIRE(list.paths == std::vector<std::string>{"a/b.jpg", "c.png", "d.jpg"});
  REQUIRE(list.lines == std::vector<std::int32_t>{1, 3, 4});
  REQUIRE(list.labels == std::vector<std::uint16_t>{0, 1, 1, 1, 0, 0, 0, 0, 0});
}

TEST_CASE("lists may come from Windows", "[data][list]") {
  const ImageList list = parse_list(
      "\xef\xbb\xbf"
      "a.jpg 0 1\r\nb.jpg 1 0\r\n\r\n",
      "x.txt");
  REQUIRE(list.paths == std::vector<std::string>{"a.jpg", "b.jpg"});
  REQUIRE(list.labels == std::vector<std::uint16_t>{0, 1, 1, 0});
}

TEST_CASE("lists: paths with blanks are quoted, or end at a tab", "[data][list]") {
  const ImageList list = parse_list(
      "\"my cats/a b.jpg\" 1 0\nmy cats/a b.jpg\t0\t1\n\"say \"\"x\"\".jpg\"\t1 1\n"
      "2 dogs.jpg\t0 0\nc.jpg 1\t0\n  d e.jpg \t1 0\r\n",
      "x.txt");
  REQUIRE(list.paths == std::vector<std::string>{"my cats/a b.jpg", "my cats/a b.jpg",
                                                 "say \"x\".jpg", "2 dogs.jpg", "c.jpg",
                                                 "d e.jpg"});
  REQUIRE(list.labels == std::vector<std::uint16_t>{1, 0, 0, 1, 1, 1, 0, 0, 1, 0, 1, 0});
  REQUIRE_THROWS_WITH(parse_list("\"a.jpg 1 0\n", "x.txt"),
                      Contains("x.txt:1: the quote before the path"));
}

TEST_CASE("lists: one number a line is a class only when that is said", "[data][list]") {
  const std::string text = "a.jpg 0\nb.jpg 1\n";
  REQUIRE_THROWS_WITH(parse_list(text, "x.txt"), Contains("x.txt: each line has one number") &&
                                                     Contains("--list-labels class") &&
                                                     Contains("columns"));
  REQUIRE_THROWS_WITH(parse_list("a.jpg 7\n", "x.txt"),
                      Contains("label 1 is \"7\"") && Contains("--list-labels class"));
  const auto columns = open_lists({parse_list(text, "x.txt", ListLabels::kColumns)}, "", {});
  CHECK(columns->classes() == 1);
  CHECK(columns->labels().first_class(0) == -1);
  // The largest number of all lists says how many classes there are.
  const auto classes = open_lists({parse_list(text, "x.txt", ListLabels::kClass),
                                   parse_list("c.jpg 12\n", "y.txt", ListLabels::kClass)},
                                  "", {});
  CHECK(classes->classes() == 13);
  CHECK(classes->labels().first_class(0) == 0);
  CHECK(classes->labels().first_class(1) == 1);
  CHECK(classes->labels().first_class(2) == 12);
  const auto refuse = [](const std::string& bad, const std::string& what) {
    CHECK_THROWS_WITH(parse_list(bad, "x.txt", ListLabels::kClass), Contains(what));
  };
  refuse("a.jpg 0 1\n", "more than 1 labels");
  refuse("a.jpg 65536\n", "0 to 65535");
  refuse("a.jpg 99999999999999999999\n", "0 to 65535");
  refuse("a.jpg -1\n", "a class number is needed");
  CHECK_THROWS_AS(list_labels_named("classes"), std::invalid_argument);
}

TEST_CASE("lists in UTF-16 are named as such", "[data][list]") {
  const std::string little(
      "\xff\xfe"
      "a\0 \0"
      "1\0",
      8),
      big("\0a\0.\0j", 6);
  REQUIRE_THROWS_WITH(parse_list(little, "x.txt"), Contains("x.txt: it is UTF-16 text"));
  REQUIRE_THROWS_WITH(parse_list(big, "x.txt"), Contains("UTF-16"));
}

TEST_CASE("lists: errors say file, line and what is there", "[data][list]") {
  const auto refuse = [](const std::string& text, const std::string& what) {
    INFO(text);
    REQUIRE_THROWS_WITH(parse_list(text, "x.txt"), Contains(what));
    REQUIRE_THROWS_AS(parse_list(text, "x.txt"), std::runtime_error);
  };
  refuse("", "x.txt: there is no image");
  refuse("\n \n\r\n", "x.txt: there is no image");
  refuse("a.jpg\n", "x.txt:1: there are no labels");
  refuse("a.jpg 0 1\nb.jpg 0\n", "x.txt:2: there is 1 label, and the first image has 2");
  refuse("a.jpg 0 1\n\nmy photo.jpg 0 1\n", "x.txt:3: label 1 is \"photo.jpg\"");
  refuse("a.jpg 0 2\n", "x.txt:1: label 2 is \"2\"");
  refuse("a.jpg 0 01\n", "label 2 is \"01\"");
  refuse(std::string("a\0b.jpg 1\n", 10), "zero byte");
  std::string many = "a.jpg";
  for (int i = 0; i <= Labels::kMaxClasses; ++i) many += " 0";
  refuse(many, "more than 65536 labels");
  refuse("a.jpg " + std::string(100'000, 'x'), "label 1 is \"" + std::string(40, 'x') + "\"");
}

TEST_CASE("a list of a million lines", "[data][list]") {
  std::string text;
  for (int i = 0; i < 1'000'000; ++i) text += "i/" + std::to_string(i) + ".jpg 0 1\n";
  const ImageList list = parse_list(text, "x.txt");
  REQUIRE(list.paths.size() == 1'000'000);
  REQUIRE(list.paths.back() == "i/999999.jpg");
  REQUIRE(list.lines.back() == 1'000'000);
}

TEST_CASE("images of lists: order, places, missing files", "[data][list]") {
  const TemporaryFolder folder;
  const Image image = picture(6, 5, 3);
  write_file_atomically(folder / "a.png", as_text(encode_png(image)));
  write_file_atomically(folder / "one.txt", "a.png 0 1\n\nnone.png 1 0\n");
  write_file_atomically(folder / "two.txt", (folder / "a.png").string() + " 1 1\n");
  const auto set =
      open_lists({read_list(folder / "one.txt"), read_list(folder / "two.txt")}, folder.path(), {});
  REQUIRE(set->size() == 3);
  REQUIRE(set->classes() == 2);
  REQUIRE(set->labels().count(2) == 2);
  REQUIRE(set->load(0).pixels == image.pixels);
  REQUIRE(set->load(2).pixels == image.pixels);  // an absolute path
  REQUIRE(set->name(1) == "none.png");
  REQUIRE(set->location(1) == (folder / "one.txt").string() + ":3: none.png");
  REQUIRE(set->available(0));
  REQUIRE_FALSE(set->available(1));
  REQUIRE_THROWS_AS(set->load(1), ImageError);
  REQUIRE_THROWS_WITH(set->load(1), Contains("none.png: can't be opened"));

  write_file_atomically(folder / "two.txt", "a.png 1 1 0\n");
  REQUIRE_THROWS_WITH(
      open_lists({read_list(folder / "one.txt"), read_list(folder / "two.txt")}, folder.path(), {}),
      Contains("two.txt: its lines have 3 labels"));
  REQUIRE_THROWS_WITH(read_list(folder / "three.txt"), Contains("three.txt"));
}

}  // namespace
}  // namespace hh::data

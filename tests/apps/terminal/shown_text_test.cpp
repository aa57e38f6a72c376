// SPDX-License-Identifier: Apache-2.0
// Text of others reaches a terminal without what it would act on; files keep it.
#include "apps/terminal/shown_text.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/apps/program.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_data.h"

namespace hh {
namespace {

using apps::shown_json, apps::shown_lines, apps::shown_text;
using Catch::Contains;
using testing::Outcome, testing::run_program;

TEST_CASE("what a terminal would act on is shown as an escape", "[shown]") {
  for (const auto& [text, shown] : {
           std::pair<std::string, std::string>{"plain ä 猫 😀 \\", "plain ä 猫 😀 \\"},
           {"\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"},
           {"a\nb\rc\td", "a\\nb\\rc\\td"},
           {std::string("\0\x07\x7f", 3), "\\x00\\x07\\x7f"},
           {"\xc2\x9b[31m", "\\u009b[31m"},  // CSI in one character
           {"\xe2\x80\xae"
            "gpj.\xe2\x81\xa9",
            "\\u202egpj.\\u2069"},
           {"\xe2\x80\xa8\xe2\x80\x8f\xef\xbb\xbf", "\\u2028\\u200f\\ufeff"},
           {"\x9b[31m", "\\x9b[31m"},  // no UTF-8: CSI in Latin-1
           {"\xff\xc3", "\\xff\\xc3"},
           {"\xc0\x9b\xe0\x82\x9b", "\\xc0\\x9b\\xe0\\x82\\x9b"},  // written too long
           {"\xed\xa0\x80", "\\xed\\xa0\\x80"},                    // half a pair
       }) {
    CHECK(shown_text(text) == shown);
  }
  CHECK(shown_lines("a\n\x1b\n") == "a\n\\x1b\n");
  const nlohmann::ordered_json json{{"name\xe2\x80\xae", "\x1b\xc2\x9b\n猫"}};
  CHECK(shown_json(json).find_first_of("\x1b\xc2\n") == std::string::npos);
  CHECK_THAT(shown_json(json), Contains("猫"));
  CHECK(nlohmann::ordered_json::parse(shown_json(json)) == json);
}

TEST_CASE("names with control characters are shown as escapes by every command", "[shown]") {
  const testing::TemporaryFolder folder;
  testing::make_tiny_images(folder / "images");
  testing::write_text(folder / "tiny.toml", testing::tiny_recipe(folder / "images"));
  const auto path = [&](const std::string& name) { return (folder / name).string(); };
  const std::string evil =
      "e\x1b[31m\xc2\x9b"
      "2J\xe2\x80\xae\r\n";
  std::filesystem::create_directories(folder / (evil + "d") / evil);
  std::filesystem::copy_file(folder / "images/red/100.ppm",
                             folder / (evil + "d") / evil / (evil + ".ppm"));
  testing::write_text(folder / (evil + "d") / evil / (evil + "bad.ppm"), "P6\n16 16\n255\n cut");
  const auto check = [&](const std::vector<std::string>& words, int status) {
    const Outcome outcome = run_program(folder.path(), words);
    const std::string text = outcome.out + outcome.err;
    CAPTURE(words, text);
    CHECK(outcome.status == status);
    for (const char* raw : {"\x1b", "\xc2\x9b", "\xe2\x80\xae", "\r"}) {
      CHECK(text.find(raw) == std::string::npos);
    }
    CHECK_THAT(text, Contains("\\x1b[31m") || Contains("\\u001b[31m"));
    return outcome;
  };
  REQUIRE(run_program(folder.path(), {"train", path("tiny.toml"), "--out", path("run"), "--device",
                                      "cpu", "--set", "train.epochs=1"})
              .status == 0);
  const std::string model = path("run/best.safetensors");
  const std::vector<std::string> from{
      "--model", model, "--class-folder", path(evil + "d"), "--skip-bad", "--device", "cpu"};
  const auto with = [&](std::vector<std::string> words, const std::vector<std::string>& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  check(with({"encode", "--out", path("x.codes")}, from), 0);
  check(with({"index", "build", "--out", path("ix")}, from), 0);
  check({"info", path("x.codes")}, 0);
  check({"info", path("ix")}, 0);
  check({"index", "info", path("ix"), "--json"}, 0);
  check({"search", "--index", path("ix"), "--id", "0"}, 0);
  check({"search", "--index", path("ix"), "--id", "0", "--json"}, 0);
  check({"search", "--index", path("ix"), "--id", "0", "--html", path(evil + ".html")}, 0);
  check({"index", "export", path("ix"), "--out", path(evil + ".csv")}, 0);
  std::filesystem::copy(folder / "images/blue", folder / (evil + "d/" + evil + "2"));
  check({"dataset", "check", "--protocol", "folder", "--data", path(evil + "d"), "--content",
         "pixels"},
        1);
  check({"dataset", "check", "--protocol", "folder", "--data", path(evil + "d"), "--content",
         "pixels", "--json"},
        1);
  check({"eval", "--queries", path("x.codes"), "--database", path("x.codes"), "--out", path(evil)},
        0);
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{evil},
        {"info", evil},
        {"info", "--" + evil},
        {"train", "--device", "cpu", "--set", evil + "=1", "--out", path("y")},
        {"train", "--device", "cpu", "--set",
         "data.path=\"" + std::string("/nowhere\\u001b[31m") + "\"", "--out", path("y")},
        {"search", "--index", path("ix"), "--code", evil},
        {"search", "--index", path("ix"), "--id", "0", "--filter", "label=no" + evil},
        {"encode", "--model", model, path(evil), "--out", path("y.codes")}}) {
    const Outcome outcome = check(words, 2);
    CAPTURE(words, outcome.err);
    CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
  }
  CHECK_THAT(testing::read_text(folder / (evil + ".csv")), Contains(evil));
}

}  // namespace
}  // namespace hh

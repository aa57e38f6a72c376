// SPDX-License-Identifier: Apache-2.0
#include "engine/text/utf8.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "engine/text/json_text.h"

namespace hh {
namespace {

TEST_CASE("what isn't UTF-8 is escaped, and comes back", "[utf8]") {
  const std::pair<std::string, std::string> names[] = {
      {"photos/cat 1.jpg", "photos/cat 1.jpg"},
      {"café/日本/😀", "café/日本/😀"},
      {"caf\xe9/1.jpg", "caf\\xe9/1.jpg"},
      {"caf\\xe9/1.jpg", "caf\\x5cxe9/1.jpg"},       // the text that looks like the one above
      {"caf\\x5cxe9", "caf\\x5cx5cxe9"},             // and the one that looks like that
      {"a\\xb", "a\\xb"},                            // no escape
      {"C:\\x41\\xE9", "C:\\x41\\xE9"},              // nor these
      {"\xc0\xaf", "\\xc0\\xaf"},                    // overlong
      {"\xed\xa0\x80", "\\xed\\xa0\\x80"},           // a surrogate
      {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},  // above U+10FFFF
      {"\xe6\x97", "\\xe6\\x97"},                    // cut off
      {std::string("a\0\xff", 3), std::string("a\0\\xff", 6)}};
  for (const auto& [name, text] : names) {
    CAPTURE(text);
    CHECK(as_utf8(name) == text);
    CHECK(is_utf8(as_utf8(name)));
    CHECK(bytes_of_utf8(text) == name);
    CHECK(repaired_utf8(text) == text);  // twice is once
  }
}

TEST_CASE("JSON is written whatever strings hold", "[utf8]") {
  const nlohmann::ordered_json json{{"z", {"caf\xe9", 1, nullptr}}, {"a\xff", "\xc3\xa9"}};
  CHECK(json_text(json) == R"({"z":["caf\\xe9",1,null],"a\\xff":"é"})");
}

}  // namespace
}  // namespace hh

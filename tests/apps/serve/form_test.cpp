// SPDX-License-Identifier: Apache-2.0
// Forms with all that RFC 2046 allows around their parts.
#include "apps/serve/form.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "apps/serve/trailers.h"

namespace hh::apps {
namespace {

const std::string kType = "multipart/form-data; boundary=b";
const std::string kHead =
    "Content-Disposition: form-data; name=\"image\"; filename=\"a.jpg\"\r\n\r\n";

TEST_CASE("parts of a form are found whatever stands around them", "[form]") {
  const std::string part = "--b\r\n" + kHead + "da--b\r\nta", end = "\r\n--b--";
  for (const std::string& body :
       {part + end, part + end + "\r\n", part + end + "\r\nan epilogue\r\n--b\r\n",
        "\r\n" + part + end, "\r\n\r\n" + part + end, "A preamble, not --b\r\n" + part + end,
        "--bc\r\n--b c\r\n" + part + end, "--b \t \r\n" + part.substr(5) + end + " \t\r\n"}) {
    CAPTURE(body);
    const auto parts = parse_form(kType, body);
    REQUIRE(parts.size() == 1);
    CHECK(parts[0].name == "image");
    CHECK(parts[0].filename == "a.jpg");
    CHECK(parts[0].data == "da--b\r\nta");
  }
  const std::string both = part + "\r\n--b  \r\n" + kHead + "\r\n" + "\r\n--b--";
  const auto two = parse_form(kType, both);  // views of the body
  REQUIRE(two.size() == 2);
  CHECK(two[1].data == "\r\n");
  const std::string nothing = "--b\r\n" + kHead + end;
  const auto empty = parse_form(kType, nothing);
  CHECK(empty.at(0).data.empty());
  for (const std::string& body :
       {std::string(), std::string("--"), std::string("--b"), std::string("--b\r\n"), part,
        part + "\r\n--b", part + "\r\n--b-", "x" + part + "--b--", std::string("--b\r\n--b--"),
        std::string("--b\n\n--b--\n")}) {
    CAPTURE(body);
    CHECK_THROWS_AS(parse_form(kType, body), std::invalid_argument);
  }
}

TEST_CASE("a form whose lines end in LF says so", "[form]") {
  std::string body = "--b\r\n" + kHead + "data\r\n--b--\r\n";
  CHECK(parse_form(kType, body).size() == 1);
  body.erase(std::remove(body.begin(), body.end(), '\r'), body.end());
  CHECK_THROWS_WITH(parse_form(kType, body), Catch::Contains("end them in CR LF"));
}

TEST_CASE("parameters of a head are read as they are quoted", "[form]") {
  const auto name = [](const std::string& parameters) {
    return parse_form(kType,
                      "--b\r\nContent-Disposition: form-data" + parameters + "\r\n\r\n\r\n--b--")
        .at(0)
        .name;
  };
  CHECK(name("; filename=\"x; name=y.jpg\"; name=\"image\"") == "image");
  CHECK(name("; filename=\"x\\\"; name=y.jpg\"; name=\"image\"") == "image");
  CHECK(name(";name=image") == "image");
  CHECK(name("; odd; Name = \"im\\age\"") == "image");
  CHECK_THROWS(name("; filename=\"; name=image"));
  CHECK(parse_form("Multipart/Form-Data; charset=\"; boundary=c\"; Boundary=\"b\"",
                   "--b\r\n" + kHead + "\r\n--b--")
            .size() == 1);
}

TEST_CASE("trailers are left out, however the bytes come", "[form]") {
  const std::string body =
      "5;name=\"a\r\"\r\nhe\r\no\r\n1A\r\n0\r\nx: no trailer, but data\r\n0;e\r\n";
  const std::string next = "POST / HTTP/1.1\r\nA: b\r\n\r\n";
  for (const char* trailers : {"", "X: 1\r\n", "X: 1\r\nLong: \r\n"}) {
    const std::string text = body + trailers + "\r\n" + next;
    for (std::size_t step : {std::size_t{1}, std::size_t{2}, std::size_t{7}, text.size()}) {
      TrailerFilter filter;
      std::string kept;
      for (std::size_t at = 0; at < text.size(); at += step) {
        std::string some = text.substr(at, step);
        some.resize(filter.filter(some.data(), some.size()));
        kept += some;
      }
      CHECK(kept == body + "\r\n" + next);
      CHECK(!filter.broken());
      CHECK(!filter.too_long());
    }
  }
}

TEST_CASE("chunks without a size, and trailers without end, are told at once", "[form]") {
  const auto filtered = [](std::string text) {
    TrailerFilter filter;
    filter.filter(text.data(), text.size());
    return filter;
  };
  for (const char* size : {"-", "+", "\r", "\n", "x", "5x", " 5", "10000000000000000"}) {
    CAPTURE(size);
    CHECK(filtered(std::string("2\r\nab\r\n") + size).broken());
  }
  for (const char* size : {"5", "a;", "F ", "05\t", "fffffffffffffff"}) {
    CAPTURE(size);
    CHECK(!filtered(size).broken());
  }
  const std::string end = "0\r\n";
  CHECK(!filtered(end + std::string(kMaxLine, 'x')).too_long());
  CHECK(filtered(end + std::string(kMaxLine + 2, 'x')).too_long());
  std::string lines;
  while (lines.size() + 3 <= kMaxHead) lines += "x:\n";
  CHECK(!filtered(end + lines).too_long());
  CHECK(filtered(end + lines + "x:\n").too_long());
}

}  // namespace
}  // namespace hh::apps

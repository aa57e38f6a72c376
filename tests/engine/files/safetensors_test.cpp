// SPDX-License-Identifier: Apache-2.0
#include "engine/files/safetensors.h"

#include <catch2/catch.hpp>
#include <string>

#include "tests/support/temporary_folder.h"

namespace hh {
namespace {

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& v) {
  return std::as_bytes(std::span(v));
}

SafetensorsFile parse(const std::string& text) {
  return SafetensorsFile::parse(std::as_bytes(std::span(text)), "case");
}

/// A file with this header and this many bytes of data.
std::string file_of(const std::string& header, std::size_t data) {
  std::string text(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) text[i] = char(header.size() >> (8 * i) & 0xff);
  return text + header + std::string(data, 'x');
}

TEST_CASE("safetensors come back as they were written", "[safetensors]") {
  const testing::TemporaryFolder folder;
  const std::vector<float> floats{1.5f, -2, 3e-9f};
  const std::vector<std::uint8_t> small{1, 2, 255};
  const std::vector<std::int64_t> large{-5, std::int64_t{1} << 60};
  const std::vector<f16> half{{0x3c00}, {0xc000}};
  write_safetensors(folder / "t",
                    {{"small", "U8", {3, 1}, bytes_of(small)},
                     {"floats", "F32", {3}, bytes_of(floats)},
                     {"half", "F16", {2}, bytes_of(half)},
                     {"none", "F32", {0, 7}, {}},
                     {"large", "I64", {2}, bytes_of(large)}},
                    {{"key", "a \"quoted\" value"}});
  const auto file = SafetensorsFile::open(folder / "t");
  REQUIRE(file.names() == std::vector<std::string>{"floats", "half", "large", "none", "small"});
  REQUIRE(file.metadata().at("key") == "a \"quoted\" value");
  REQUIRE(file.to_floats("floats") == floats);
  REQUIRE(file.to_floats("half") == std::vector<float>{1, -2});
  REQUIRE(file.to_int64s("large") == large);
  REQUIRE(file.to_doubles("small") == std::vector<double>{1, 2, 255});
  REQUIRE(file.to_floats("none").empty());
  REQUIRE(file.entry("small").shape == std::vector<std::int64_t>{3, 1});
  for (const std::string& name : file.names()) {  // aligned to the element
    const auto at = reinterpret_cast<std::uintptr_t>(file.entry(name).bytes.data());
    if (name == "large") REQUIRE(at % 64 == 0);
    if (name == "floats") REQUIRE(at % 4 == 0);
  }
  REQUIRE_THROWS_WITH(file.entry("other"), Catch::Contains("no tensor 'other'"));
  REQUIRE_THROWS_WITH(file.to_int64s("floats"), Catch::Contains("F32, not whole numbers"));
}

TEST_CASE("metadata may be null, as the reference library takes it", "[safetensors]") {
  const std::string text =
      file_of(R"({"__metadata__":null,"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 2);
  REQUIRE(parse(text).metadata().empty());
  REQUIRE(parse(text).to_int64s("a") == std::vector<std::int64_t>{'x', 'x'});
}

TEST_CASE("broken safetensors are refused with the reason", "[safetensors]") {
  const auto refused = [](const std::string& text, const std::string& why) {
    CAPTURE(text.substr(0, 300));
    REQUIRE_THROWS_WITH(parse(text), Catch::Contains(why));
  };
  const std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  REQUIRE(parse(file_of("{" + a + "}", 8)).to_floats("a").size() == 2);

  refused("", "only 0 bytes");
  refused("1234567", "it is text");
  refused(std::string(7, '\xff'), "only 7 bytes");
  refused(file_of("{}", 0).substr(0, 9), "its header should have 2 bytes");
  refused(std::string(8, '\xff'), "its header should have");
  refused(file_of("[]", 0), "isn't a JSON object");
  refused(file_of("{\"a\":", 0), "its header");
  refused(file_of(std::string(100000, '['), 0), "nested too deeply");
  refused(file_of("{" + a + "}", 7), "bytes 0 to 8 of 7");
  refused(file_of("{" + a + "}", 9), "behind the last tensor");
  const auto one = [](const std::string& dtype, const std::string& shape, const std::string& at) {
    return "{\"a\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + at +
           "}}";
  };
  refused(file_of(one("F31", "[2]", "[0,8]"), 8), "unknown type 'F31'");
  refused(file_of(one("F32", "[3]", "[0,8]"), 8), "its shape takes 12");
  refused(file_of(one("F32", "[-2]", "[0,8]"), 8), "isn't a whole number");
  refused(file_of(one("F32", "[2.0]", "[0,8]"), 8), "isn't a whole number");
  refused(file_of(one("F32", "{}", "[0,8]"), 8), "isn't a list");
  refused(file_of(one("F32", "[2]", "[8,0]"), 8), "bytes 8 to 0");
  refused(file_of(one("F32", "[2]", "[0]"), 8), "isn't a pair");
  refused(file_of(one("F32", "[4294967296,4294967296,0]", "[0,0]"), 0), "too large");
  refused(file_of(one("F32", "[18446744073709551615]", "[0,8]"), 8), "too large");
  const std::string overlap = R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]})";
  refused(file_of("{" + a + "," + overlap + "}", 12), "b overlaps another");
  const std::string later = R"("b":{"dtype":"U8","shape":[2],"data_offsets":[9,11]})";
  refused(file_of("{" + a + "," + later + "}", 11), "gap before b");
  refused(file_of(R"({"a":{"dtype":"F32"}})", 0), "its header");
  refused(file_of(R"({"a":7})", 0), "isn't an object");
  refused(file_of(R"({"__metadata__":{"x":1}})", 0), "its header");
}

}  // namespace
}  // namespace hh

// SPDX-License-Identifier: Apache-2.0
#include "retrieval/files/npy.h"

#include <catch2/catch.hpp>

#include "engine/files/file.h"
#include "tests/support/temporary_folder.h"

namespace hh::retrieval {
namespace {

/// A file of this version, header and data.
std::string npy(const std::string& header, const std::string& data, char version = 1) {
  std::string text = std::string("\x93NUMPY") + version + '\0';
  text += char(header.size() & 0xff);
  text += char(header.size() >> 8);
  if (version > 1) text += std::string(2, '\0');
  return text + header + data;
}

template <class T = std::uint8_t>
NpyArray<T> parse(const std::string& text) {
  return parse_npy<T>(std::as_bytes(std::span(text)), "case");
}

TEMPLATE_TEST_CASE("npy arrays come back as they were written", "[npy]", std::uint8_t, std::int32_t,
                   std::int64_t, float) {
  const testing::TemporaryFolder folder;
  for (const auto& shape : {std::vector<std::int64_t>{6}, {2, 3}, {3, 1, 2}, {0, 8}, {}}) {
    std::size_t count = 1;
    for (const std::int64_t extent : shape) count *= std::size_t(extent);
    std::vector<TestType> values;
    for (std::size_t i = 0; i < count; ++i) values.push_back(TestType(100 + i));
    write_npy<TestType>(folder / "a.npy", shape, values);
    const auto back = read_npy<TestType>(folder / "a.npy");
    REQUIRE(back.shape == shape);
    REQUIRE(back.values == values);
    // The format wants the data on a multiple of 64 bytes.
    REQUIRE((read_file(folder / "a.npy", 1000).size() - count * sizeof(TestType)) % 64 == 0);
  }
  REQUIRE_THROWS_WITH(write_npy<TestType>(folder / "a.npy", std::vector<std::int64_t>{2}, {}),
                      Catch::Contains("0 values in a shape of 2"));
}

TEST_CASE("npy headers as NumPy writes them are read", "[npy]") {
  const std::string plain = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2), }   \n";
  REQUIRE(parse(npy(plain, "abcd")).values == std::vector<std::uint8_t>{'a', 'b', 'c', 'd'});
  REQUIRE(parse(npy(plain, "abcd", 2)).shape == std::vector<std::int64_t>{2, 2});
  REQUIRE(parse(npy(plain, "abcd", 3)).shape == std::vector<std::int64_t>{2, 2});
  REQUIRE(parse(npy("{'descr':'|u1','fortran_order':True,'shape':(2,)}", "ab")).values.size() == 2);
  REQUIRE(
      parse(npy("{\"descr\": \"|u1\", 'fortran_order': False, 'shape': ()}", "a")).shape.empty());
}

TEST_CASE("broken npy files are refused with the reason", "[npy]") {
  const auto refused = [](const std::string& text, const std::string& why) {
    CAPTURE(text);
    REQUIRE_THROWS_WITH(parse(text), Catch::Contains(why) && Catch::Contains("case"));
  };
  const std::string good = "{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }";
  refused("", "doesn't begin like one");
  refused("words and so on", "it is text, not an .npy array");
  refused("PK\x03\x04 and so on", "it is a ZIP archive, not an .npy array: unpack it");
  refused(npy(good, "abcd", 4), "version is 4.0");
  for (std::size_t cut = 0; cut < npy(good, "abcd").size(); ++cut) {
    REQUIRE_THROWS_AS(parse(npy(good, "abcd").substr(0, cut)), std::runtime_error);
  }
  refused(npy(good, "abc"), "shorter");
  refused(npy(good, "abcde"), "5 bytes of data");
  refused(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (4,), }", "abcd"), "'<f8'");
  refused(npy("{'descr': '>i8', 'fortran_order': False, 'shape': (4,), }", "abcd"), "'>i8'");
  refused(npy("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 2), }", "abcd"), "Fortran");
  refused(npy("{'descr': '|u1', 'fortran_order': 1, 'shape': (4,), }", "abcd"), "neither True");
  refused(npy("{'descr': '|u1', 'fortran_order': False}", "abcd"), "lacks descr");
  refused(npy("{'descr': '|u1', 'descr': '|u1'}", "abcd"), "has 'descr'");
  refused(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-4,), }", "abcd"), "a number");
  refused(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (4 4), }", "abcd"), "')'");
  refused(npy(good + "{}", "abcd"), "goes on");
  refused(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999,), }", ""),
          "too large");
  // Products that would wrap.
  refused(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", ""),
          "shorter");
  refused(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1), }", "a"),
          "8 axes");
}

}  // namespace
}  // namespace hh::retrieval

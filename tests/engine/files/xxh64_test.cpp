// SPDX-License-Identifier: Apache-2.0
#include "engine/files/xxh64.h"

#include <catch2/catch.hpp>

namespace hh {
namespace {

TEST_CASE("XXH64 gives the published sums", "[files]") {
  const auto sum = [](std::string_view text, std::uint64_t seed = 0) {
    return xxh64(std::as_bytes(std::span(text)), seed);
  };
  // From xxHash's own tests and its Python binding's documentation.
  CHECK(sum("") == 0xEF46DB3751D8E999);
  CHECK(sum("a") == 0xD24EC4F1A98C6E5B);
  CHECK(sum("abc") == 0x44BC2CF5AD770999);
  CHECK(sum("xxhash") == 0x32DD38952C4BC720);
  CHECK(sum("xxhash", 20141025) == 0xB559B98D844E0635);
  CHECK(sum("Nobody inspects the spammish repetition") == 0xFBCEA83C8A378BF1);
}

TEST_CASE("XXH64 doesn't depend on how the bytes are cut", "[files]") {
  std::string text;
  for (int i = 0; i < 300; ++i) text += char(i * 7);
  for (std::size_t size = 0; size <= text.size(); size += 3) {
    const std::string_view bytes = std::string_view(text).substr(0, size);
    for (const std::size_t step : {1, 7, 31, 32, 33, 100}) {
      CAPTURE(size, step);
      Xxh64 sum;
      for (std::size_t i = 0; i < size; i += step) sum.update(bytes.substr(i, step));
      REQUIRE(sum.value() == xxh64(std::as_bytes(std::span(bytes))));
    }
  }
  CHECK(xxh64_text(0x0123456789abcdef) == "0123456789abcdef");
}

}  // namespace
}  // namespace hh

// SPDX-License-Identifier: Apache-2.0
#include "engine/files/sha256.h"

#include <catch2/catch.hpp>

namespace hh {
namespace {

std::string sha256(const std::string& text) {
  Sha256 sha;
  sha.update(text);
  return sha.hex();
}

// The examples of FIPS 180-4 (NIST's example values).
TEST_CASE("sha256 agrees with the standard's examples", "[sha256]") {
  CHECK(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(sha256(std::string(1'000'000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("sha256 doesn't depend on how the bytes come", "[sha256]") {
  std::string text;
  for (int i = 0; i < 300; ++i) text += char(i);
  for (const std::size_t part : {1, 55, 56, 63, 64, 65, 128}) {
    Sha256 sha;
    for (std::size_t i = 0; i < text.size(); i += part) sha.update(text.substr(i, part));
    CHECK(sha.hex() == sha256(text));
  }
}

}  // namespace
}  // namespace hh

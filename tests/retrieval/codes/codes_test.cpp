// SPDX-License-Identifier: Apache-2.0
#include "retrieval/codes/codes.h"

#include <catch2/catch.hpp>

#include "retrieval/codes/labels_view.h"
#include "retrieval/codes/row_mask.h"

namespace hh::retrieval {
namespace {

TEST_CASE("codes keep their bits through bytes and words", "[codes]") {
  const int bits = GENERATE(1, 5, 8, 12, 16, 20, 56, 64, 72, 100, 128, 511, 512);
  const std::int64_t count = GENERATE(0, 1, 5);
  const std::int64_t width = (bits + 7) / 8;
  std::vector<std::uint8_t> bytes(std::size_t(count * width));
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::uint8_t(i * 37 + 11);
  for (std::int64_t i = 1; i <= count && bits % 8 != 0; ++i) {
    bytes[std::size_t(i * width - 1)] &= std::uint8_t((1 << (bits % 8)) - 1);
  }
  const PackedCodes codes = PackedCodes::from_bytes(bytes, count, bits);
  REQUIRE(codes.count() == count);
  REQUIRE(codes.to_bytes() == bytes);
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) {
    for (int j = 0; j < bits; ++j) {
      const bool bit = bytes[std::size_t(i * width + j / 8)] >> (j % 8) & 1;
      REQUIRE(codes.view().bit(i, j) == bit);
      values.push_back(bit ? 0.25f : j % 2 == 0 ? 0.f : -3.f);
    }
    if (bits % 64 != 0) REQUIRE(codes.view().row(i).back() >> (bits % 64) == 0);
  }
  REQUIRE(PackedCodes::from_floats(values, count, bits).to_bytes() == bytes);
}

TEST_CASE("codes are put together and taken apart", "[codes]") {
  const std::vector<std::uint8_t> bytes{1, 2, 3, 4, 5, 6};
  const PackedCodes codes = PackedCodes::from_bytes(bytes, 3, 16);
  PackedCodes joined;
  joined.append(codes.view().slice(1, 3));
  joined.append(codes.view().slice(0, 1));
  REQUIRE(joined.to_bytes() == std::vector<std::uint8_t>{3, 4, 5, 6, 1, 2});
  joined.set(0, 9, true);
  joined.set(0, 0, false);
  REQUIRE(joined.to_bytes()[0] == 2);
  REQUIRE(joined.to_bytes()[1] == 6);
  REQUIRE(hamming_distance(codes.view().row(0), codes.view().row(1)) == 3);
  REQUIRE_THROWS_WITH(joined.append(PackedCodes(1, 24)), Catch::Contains("24 bits can't join"));
}

TEST_CASE("codes name what they refuse", "[codes]") {
  for (const int bits : {0, 513, 520, -8}) {
    REQUIRE_THROWS_WITH(PackedCodes(1, bits), Catch::Contains("codes of " + std::to_string(bits)));
  }
  REQUIRE_THROWS_WITH(PackedCodes(-1, 8), Catch::Contains("-1"));
  const std::vector<std::uint8_t> bytes(5);
  REQUIRE_THROWS_WITH(PackedCodes::from_bytes(bytes, 2, 16), Catch::Contains("5 bytes"));
  REQUIRE_THROWS_WITH(PackedCodes::from_bytes(bytes, 4, 8), Catch::Contains("5 bytes"));
  const std::vector<std::uint8_t> past{0, 0x10};  // bit 12 of 12
  REQUIRE_THROWS_WITH(PackedCodes::from_bytes(past, 1, 12),
                      Catch::Contains("code 0 has a bit set behind its 12 bits"));
  const std::vector<float> values(9);
  REQUIRE_THROWS_WITH(PackedCodes::from_floats(values, 1, 8), Catch::Contains("9 values"));
}

TEST_CASE("labels are packed by class", "[codes]") {
  std::vector<std::uint8_t> hot(2 * 70);
  hot[0] = hot[69] = hot[70 + 64] = 1;
  const auto words = pack_labels(hot, 2, 70);
  REQUIRE(words == std::vector<std::uint64_t>{1, 1 << 5, 0, 1});
  const LabelsView labels{words.data(), 2, 70};
  REQUIRE(labels.has(0, 69));
  REQUIRE_FALSE(labels.has(1, 69));
  REQUIRE_THROWS_WITH(pack_labels(hot, 3, 70), Catch::Contains("140 values"));
}

TEST_CASE("row masks", "[codes]") {
  RowMask mask(70, true);
  REQUIRE(mask.count() == 70);
  mask.set(69, false);
  mask.set(3, false);
  RowMask other(70, false);
  other.set(0, true);
  other.set(3, true);
  RowMask both = mask;
  both &= other;
  REQUIRE(both.count() == 1);
  REQUIRE(both.test(0));
  mask -= other;
  REQUIRE(mask.count() == 67);
  mask.resize(130, true);
  REQUIRE(mask.count() == 67 + 60);
  REQUIRE_FALSE(mask.test(69));
  mask.resize(64, false);
  REQUIRE(mask.count() == 62);
  mask.resize(70, false);
  REQUIRE(mask.count() == 62);
  RowMask odd(200, false);
  for (int r = 1; r < 200; r += 2) odd.set(r, true);
  for (const auto& [begin, end] : {std::pair{0, 200}, {3, 3}, {64, 130}, {1, 200}, {77, 199}}) {
    const RowMask part = odd.slice(begin, end);
    REQUIRE(part.rows() == end - begin);
    for (int r = begin; r < end; ++r) REQUIRE(part.test(r - begin) == (r % 2 == 1));
    REQUIRE(part.count() == end / 2 - begin / 2);
  }
  REQUIRE(RowMask(3, std::vector{~std::uint64_t{0}}).count() == 3);
  REQUIRE_THROWS_WITH(odd.slice(3, 201), Catch::Contains("3 to 201"));
  REQUIRE_THROWS_WITH(mask &= RowMask(71, true), Catch::Contains("70 and 71 rows"));
}

}  // namespace
}  // namespace hh::retrieval

// SPDX-License-Identifier: Apache-2.0
#include "retrieval/index/filter_masks.h"

#include <catch2/catch.hpp>

namespace hh::retrieval {
namespace {

std::shared_ptr<const RowMask> mask(std::int64_t rows) {
  return std::make_shared<const RowMask>(rows, true);
}

TEST_CASE("masks of the last filters are kept, within bounds", "[index]") {
  FilterMasks masks(300);  // three of 800 rows
  for (const char* filter : {"a", "b", "c"}) masks.keep(filter, mask(800));
  REQUIRE(masks.find("a") != nullptr);
  CHECK(masks.find("a")->rows() == 800);
  masks.keep("d", mask(800));  // in the place of the one that was used longest ago
  CHECK(masks.find("b") == nullptr);
  for (const char* filter : {"a", "c", "d"}) CHECK(masks.find(filter) != nullptr);
  masks.keep("d", mask(800));
  CHECK(masks.find("c") != nullptr);
}

TEST_CASE("a mask that is larger than all may be is kept alone", "[index]") {
  FilterMasks masks(10);
  masks.keep("a", mask(8000));
  CHECK(masks.find("a") != nullptr);
  masks.keep("b", mask(8000));
  CHECK(masks.find("a") == nullptr);
  CHECK(masks.find("b") != nullptr);
}

TEST_CASE("small masks are bounded by their number", "[index]") {
  FilterMasks masks;
  for (int i = 0; i < 1000; ++i) masks.keep(std::to_string(i), mask(0));
  int kept = 0;
  for (int i = 0; i < 1000; ++i) kept += masks.find(std::to_string(i)) != nullptr;
  CHECK(kept == 64);
}

}  // namespace
}  // namespace hh::retrieval

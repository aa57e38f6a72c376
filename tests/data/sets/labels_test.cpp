// SPDX-License-Identifier: Apache-2.0
#include "data/sets/labels.h"

#include <catch2/catch.hpp>

namespace hh::data {
namespace {

TEST_CASE("labels on both sides of a word", "[data][labels]") {
  for (const int classes : {1, 63, 64, 65, 81, 128, 129}) {
    Labels labels(3, classes);
    REQUIRE(labels.words() == (classes + 63) / 64);
    REQUIRE(labels.first_class(1) == -1);
    labels.set(1, classes - 1);
    REQUIRE(labels.first_class(1) == classes - 1);
    labels.set(1, 0);
    labels.set(1, 0);
    REQUIRE(labels.first_class(1) == 0);
    REQUIRE(labels.count(1) == (classes == 1 ? 1 : 2));
    REQUIRE(labels.has(1, classes - 1));
    REQUIRE(labels.count(0) == 0);
    REQUIRE(labels.count(2) == 0);
    labels.set(2, classes - 1);
    REQUIRE(share_a_class(labels.of(1), labels.of(2)));
    REQUIRE_FALSE(share_a_class(labels.of(0), labels.of(2)));
  }
}

TEST_CASE("labels name what they refuse", "[data][labels]") {
  Labels labels(2, 3);
  REQUIRE_THROWS_AS(labels.of(2), std::invalid_argument);
  REQUIRE_THROWS_AS(labels.set(0, 3), std::invalid_argument);
  REQUIRE_THROWS_AS(labels.set(-1, 0), std::invalid_argument);
  REQUIRE_THROWS_AS(labels.has(0, -1), std::invalid_argument);
  REQUIRE_THROWS_AS(Labels(1, 0), std::invalid_argument);
  REQUIRE_THROWS_AS(Labels(1, Labels::kMaxClasses + 1), std::invalid_argument);
}

}  // namespace
}  // namespace hh::data

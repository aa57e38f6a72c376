// SPDX-License-Identifier: Apache-2.0
#include "apps/serve/tables.h"

#include <catch2/catch.hpp>
#include <new>
#include <stdexcept>

#include "apps/serve/served_index.h"
#include "engine/device/backend.h"
#include "tests/apps/serve/small_index.h"

namespace hh::apps {
namespace {

TEST_CASE("tables that can't be built leave the scan, whatever went wrong", "[tables]") {
  const testing::SmallIndex made;
  const auto state = std::make_shared<const IndexState>(retrieval::Index::open(made.path()));
  const int kind = GENERATE(0, 1, 2, 3);
  int builds = 0;
  ServedTables tables([&](retrieval::CodesView) -> std::shared_ptr<const retrieval::MultiIndex> {
    ++builds;
    if (kind == 0) throw std::bad_alloc();
    if (kind == 1) throw OutOfMemory("no room");
    if (kind == 2) throw std::invalid_argument("too many codes");
    throw 42;
  });
  tables.build_first(state);
  CHECK(builds == 1);
  CHECK(tables.of(state) == nullptr);
  CHECK(builds == 1);  // not again and again
}

TEST_CASE("tables are built where the method says so", "[tables]") {
  const testing::SmallIndex made;
  const auto state = std::make_shared<const IndexState>(retrieval::Index::open(made.path()));
  for (const std::string method : {"scan", "auto", "multi-index"}) {
    ServedTables tables(table_builder(method));
    tables.build_first(state);
    CHECK((tables.of(state) != nullptr) == (method == "multi-index"));  // so few codes
  }
}

}  // namespace
}  // namespace hh::apps

// SPDX-License-Identifier: Apache-2.0
#include "retrieval/index/snapshot.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <fstream>
#include <memory>
#include <thread>

#include "retrieval/index/index.h"
#include "tests/support/codes.h"
#include "tests/support/temporary_folder.h"

namespace hh::retrieval {
namespace {
namespace fs = std::filesystem;

using Catch::Contains;

/// Items first, first + 1, ... whose path is their id.
ItemSet items(std::int64_t first, std::int64_t count) {
  ItemSet made;
  const auto words = testing::codes(first + count, 64, 7);
  made.set.codes.append({words.data() + first, count, 64});
  for (std::int64_t id = first; id < first + count; ++id) {
    made.set.ids.push_back(id);
    made.set.names.push_back(std::to_string(id));
  }
  return made;
}

/// Whether every item has the code and the path that its id says.
void check_whole(const Index& index) {
  const ItemSet all = index.contents();
  for (std::int64_t i = 0; i < all.set.count(); ++i) {
    const std::int64_t id = all.set.ids[std::size_t(i)];
    REQUIRE(all.set.name(i) == std::to_string(id));
    REQUIRE(all.set.codes.view().row(i)[0] == testing::codes(id + 1, 64, 7)[std::size_t(id)]);
  }
}

TEST_CASE("a snapshot stays what it was, and is only read", "[index][snapshot]") {
  const testing::TemporaryFolder folder;
  build_index(folder / "x", items(0, 10));
  IndexWriter(folder / "x").remove(std::vector<std::int64_t>{3});
  std::ofstream(folder / "x/sync.json") << "{}";
  CHECK(make_snapshot(folder / "x", folder / "s/", false).items == 9);
  CHECK(fs::hard_link_count(folder / "s/codes-0.bin") == 2);
  CHECK(fs::exists(folder / "s/sync.json"));
  {
    IndexWriter writer(folder / "x");
    writer.add(items(10, 5));
    writer.remove(std::vector<std::int64_t>{4, 5});
    writer.compact();
  }
  const Index snapshot = Index::open(folder / "s");
  CHECK(snapshot.count() == 9);
  CHECK(snapshot.row_of(4).has_value());
  check_whole(snapshot);
  CHECK_THROWS_WITH(IndexWriter(folder / "s"),
                    Contains("it is a snapshot") && Contains("--out NEW --copy"));
  CHECK_THROWS_WITH(make_snapshot(folder / "x", folder / "s", false), Contains("exists already"));
  // Copied it is an index like others, and what changes there changes nothing here.
  CHECK_FALSE(make_snapshot(folder / "s", folder / "c", true).linked);
  IndexWriter(folder / "c").add(items(10, 3));
  CHECK(Index::open(folder / "c").count() == 12);
  CHECK(Index::open(folder / "s").count() == 9);
  check_whole(Index::open(folder / "c"));
}

TEST_CASE("snapshots of an index that is written to are whole", "[index][snapshot]") {
  const testing::TemporaryFolder folder;
  build_index(folder / "x", items(0, 20));
  std::atomic<bool> stop = false;
  std::thread writing([&] {
    std::int64_t next = 20;
    for (int i = 0; !stop; ++i) {
      IndexWriter writer(folder / "x");
      writer.add(items(next, 3));
      writer.remove(std::vector<std::int64_t>{next - 7});
      next += 3;
      if (i % 3 == 2) writer.compact();
    }
  });
  for (int i = 0; i < 15; ++i) {
    const fs::path place = folder / std::to_string(i);
    const Snapshot made = make_snapshot(folder / "x", place, i % 5 == 4);
    const Index index = Index::open(place);
    CHECK(index.count() == made.items);
    check_whole(index);
  }
  stop = true;
  writing.join();
  for (int i = 0; i < 15; ++i) check_whole(Index::open(folder / std::to_string(i)));
}

TEST_CASE("who waited for an index that was replaced waits for the new one", "[index][snapshot]") {
  const testing::TemporaryFolder folder;
  const auto wait = [] { std::this_thread::sleep_for(std::chrono::milliseconds(200)); };
  build_index(folder / "x", items(0, 5));
  build_index(folder / "y", items(50, 2));
  auto old = std::make_unique<IndexLock>(folder / "x", 1);
  auto now = std::make_unique<IndexLock>(folder / "y", 1);  // a lock is the file's, not the name's
  std::thread waiting([&] { IndexWriter(folder / "x", 30).add(items(100, 1)); });
  wait();
  fs::rename(folder / "x", folder / "gone");
  fs::rename(folder / "y", folder / "x");
  old.reset();
  wait();
  CHECK(Index::open(folder / "x").count() == 2);
  now.reset();
  waiting.join();
  CHECK(Index::open(folder / "x").count() == 3);
}

}  // namespace
}  // namespace hh::retrieval

// SPDX-License-Identifier: Apache-2.0
#include "pipeline/index_push.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>

#include "engine/files/file_error.h"
#include "retrieval/index/snapshot.h"
#include "tests/support/codes.h"
#include "tests/support/memory_collection.h"
#include "tests/support/temporary_folder.h"

namespace hh {
namespace {

using retrieval::Index, retrieval::IndexWriter, retrieval::ItemSet;
using testing::Break, testing::MemoryCollection, testing::MemoryServer;

/// `count` items from `first` on, with names, labels and metadata here and there.
ItemSet some_items(std::int64_t first, std::int64_t count, std::uint64_t seed,
                   const std::string& model = "0123456789abcdef") {
  ItemSet items;
  const auto words = testing::codes(count, 64, seed);
  items.set.codes.append({words.data(), count, 64});
  items.set.classes = 3;
  items.set.class_names = {"cat", "dog", "owl"};
  items.set.model_hash = model;
  for (std::int64_t i = 0; i < count; ++i) {
    items.set.ids.push_back(first + i);
    items.set.names.push_back(i % 3 == 0 ? "" : "p\xff/" + std::to_string(first + i));
    const std::vector<int> labels = i % 2 == 0 ? std::vector<int>{0, 2} : std::vector<int>{};
    retrieval::append_labels(items.set.labels, 3, labels);
    items.metadata.push_back(i % 5 == 0 ? R"({"b": 1.50, "a":"x"})" : "");
  }
  return items;
}

/// That both have the same items.
void check_same_items(const Index& index, const MemoryServer& collection) {
  REQUIRE(std::int64_t(collection.items.size()) == index.count());
  for (const auto& [id, item] : collection.items) {
    const auto row = index.row_of(id);
    REQUIRE(row.has_value());
    CAPTURE(id);
    const auto codes = index.codes().row(*row), theirs = item.code.view().row(0);
    REQUIRE(std::equal(codes.begin(), codes.end(), theirs.begin(), theirs.end()));
    const retrieval::Description description = index.item(*row).description;
    REQUIRE(item.description.path == description.path);
    REQUIRE(item.description.labels == description.labels);
    REQUIRE(item.description.metadata == description.metadata);
  }
}

/// That the collection has just what the index has.
void check_same(const Index& index, const MemoryServer& collection) {
  REQUIRE(collection.about);
  REQUIRE(pipeline::is_pushed(index.manifest(), *collection.about));
  REQUIRE(!collection.about->push.strangers);
  REQUIRE(collection.about->class_names == index.manifest().class_names);
  check_same_items(index, collection);
}

/// An index, what it is, and changes of every kind.
struct Case {
  testing::TemporaryFolder folder;
  std::filesystem::path place = folder / "x";

  Case() { retrieval::build_index(place, some_items(0, 500, 1)); }
  Index open() const { return Index::open(place); }
  void change() const {
    IndexWriter writer(place);
    writer.add(some_items(500, 200, 2));
    writer.add(some_items(100, 50, 3), retrieval::SameId::kReplace);
    writer.remove(std::vector<std::int64_t>{0, 7, 120, 650});
    retrieval::Description description{.path = "new", .labels = {1}, .metadata = "{}"};
    writer.update(200, description);
  }
};

/// By a connection of its own.
pipeline::PushOutcome push(const Index& index, MemoryServer& server,
                           const pipeline::PushOptions& options = {}) {
  MemoryCollection collection(std::shared_ptr<MemoryServer>(&server, [](MemoryServer*) {}));
  return pipeline::push(index, collection, options);
}

TEST_CASE("a push makes a collection the index, and follows its changes", "[push]") {
  const Case x;
  MemoryServer collection;
  const pipeline::PushOutcome first = push(x.open(), collection);
  CHECK(first.made);
  CHECK(first.put == 500);
  CHECK(collection.settled == 1);
  check_same(x.open(), collection);

  const pipeline::PushOutcome again = push(x.open(), collection);
  CHECK(again.nothing);
  CHECK(again.put + again.removed == 0);
  CHECK(collection.settled == 1);

  x.change();
  const pipeline::PushOutcome second = push(x.open(), collection);
  CHECK(!second.made);
  CHECK(second.put == 199 + 49 + 1);  // a new and a replaced one are gone again; 1 updated
  CHECK(second.removed == 3);         // 0, 7, 120: 650 never came
  check_same(x.open(), collection);
  CHECK(!collection.locked);
}

TEST_CASE("a push that fails anywhere is made good by the next", "[push]") {
  const auto how = GENERATE(Break::kBefore, Break::kHalf, Break::kItems, Break::kBehind);
  for (int fail_at = 1;; ++fail_at) {
    CAPTURE(fail_at, int(how));
    const Case x;
    MemoryServer collection;
    collection.breaks = how;
    collection.fails_at = fail_at;  // in the first push, the second or the third
    int failures = 0;
    const auto attempt = [&](const pipeline::PushOptions& options) {
      try {
        push(x.open(), collection, options);
      } catch (const TryAgain&) {
        ++failures;
      }
      CHECK(!collection.locked);
    };
    attempt({});
    x.change();
    attempt({});
    attempt({.full = true});
    collection.fails_at = 0;
    push(x.open(), collection);
    check_same(x.open(), collection);
    if (failures == 0) {
      CHECK(fail_at > 20);  // so it was tried at each call of the three
      break;
    }
  }
}

TEST_CASE("a collection of something else is refused, or taken as a whole", "[push]") {
  const Case x, other;
  {
    IndexWriter writer(other.place);
    writer.add(some_items(9000, 10, 4));
    writer.compact();
  }
  MemoryServer collection;
  push(other.open(), collection);
  REQUIRE_THROWS_WITH(push(x.open(), collection), Catch::Contains("--full"));
  CHECK(!collection.locked);
  const pipeline::PushOutcome full = push(x.open(), collection, {.full = true});
  CHECK(full.put == 500);
  CHECK(full.removed == 10);
  check_same(x.open(), collection);

  // What others changed is theirs until all of it is put anew.
  collection.about->push.source = 0;
  collection.items.erase(3);
  REQUIRE_THROWS_WITH(push(x.open(), collection), Catch::Contains("--full"));
  push(x.open(), collection, {.full = true});
  check_same(x.open(), collection);

  retrieval::build_index(x.place, some_items(0, 20, 5, "fedcba9876543210"), true);
  REQUIRE_THROWS_WITH(push(x.open(), collection, {.full = true}), Catch::Contains("model"));
  const pipeline::PushOutcome over = push(x.open(), collection, {.overwrite = true});
  CHECK(over.made);
  check_same(x.open(), collection);
}

TEST_CASE("an index made anew is another one, with the same codes too", "[push]") {
  const Case x;
  MemoryServer collection;
  push(x.open(), collection);
  ItemSet items = some_items(0, 500, 1);
  items.set.names.assign(500, "moved");
  retrieval::build_index(x.place, items, true);
  CHECK_THROWS_WITH(push(x.open(), collection), Catch::Matchers::Contains("--full"));
  push(x.open(), collection, {.full = true});
  check_same(x.open(), collection);
}

TEST_CASE("an index that grows piece by piece stays the one that was pushed", "[push]") {
  const Case x;
  MemoryServer collection;
  std::int64_t first = 500;
  // So that segments are joined, the first one too.
  for (const std::int64_t count : {3, 1, 600, 2, 1100, 1, 3000}) {
    push(x.open(), collection);
    IndexWriter(x.place).add(some_items(first, count, std::uint64_t(first)));
    first += count;
    CHECK(push(x.open(), collection).put == count);
    check_same(x.open(), collection);
  }
  CHECK(retrieval::read_index_manifest(x.place).segments.size() < 3);
}

TEST_CASE("copies that were changed on their own are told apart", "[push]") {
  const Case x;
  MemoryServer collection;
  push(x.open(), collection);
  std::filesystem::copy(x.place, x.folder / "copy");
  retrieval::make_snapshot(x.place, x.folder / "snapshot", true);
  IndexWriter(x.place).add(some_items(500, 1, 5));
  push(x.open(), collection);
  for (const char* name : {"copy", "snapshot"}) {
    IndexWriter(x.folder / name).add(some_items(500, 1, 6));
    CHECK_THROWS_WITH(push(Index::open(x.folder / name), collection),
                      Catch::Matchers::Contains("--full"));
    IndexWriter(x.folder / name).add(some_items(501, 1, 7));
    CHECK_THROWS_WITH(push(Index::open(x.folder / name), collection),
                      Catch::Matchers::Contains("--full"));
  }
  check_same(x.open(), collection);
}

TEST_CASE("an older state of an index is not put over a newer one", "[push]") {
  const Case x;
  const Index older = x.open();
  x.change();
  MemoryServer collection;
  push(x.open(), collection);
  REQUIRE_THROWS_WITH(push(older, collection), Catch::Contains("later state"));
  push(older, collection, {.full = true});
  check_same(older, collection);
}

TEST_CASE("an empty index is pushed, and grows there", "[push]") {
  const testing::TemporaryFolder folder;
  retrieval::build_index(folder / "x", some_items(0, 0, 1));
  MemoryServer collection;
  CHECK(push(Index::open(folder / "x"), collection).made);
  CHECK(push(Index::open(folder / "x"), collection).nothing);
  IndexWriter(folder / "x").add(some_items(0, 5, 1));
  CHECK(push(Index::open(folder / "x"), collection).put == 5);
  check_same(Index::open(folder / "x"), collection);
}

TEST_CASE("a push is stopped between pieces and goes on", "[push]") {
  testing::TemporaryFolder folder;
  const std::int64_t count = 2 * retrieval::Collection::kPiece + 1;
  retrieval::build_index(folder / "x", some_items(0, count, 1));
  const Index index = Index::open(folder / "x");
  MemoryServer collection;
  pipeline::PushOptions options;
  options.stop = [&] { return !collection.items.empty(); };
  const pipeline::PushOutcome stopped = push(index, collection, options);
  CHECK(stopped.stopped);
  CHECK(stopped.put == retrieval::Collection::kPiece);
  CHECK(push(index, collection).put == count - stopped.put);
  check_same(index, collection);
}

TEST_CASE("large metadata make small pieces", "[push]") {
  testing::TemporaryFolder folder;
  ItemSet items = some_items(0, 2100, 1);
  for (std::string& text : items.metadata) text = "{\"x\":\"" + std::string(65000, 'x') + "\"}";
  retrieval::build_index(folder / "x", items);
  MemoryServer collection;
  push(Index::open(folder / "x"), collection);
  CHECK(collection.calls >= 3 + 4);  // besides lock, about, create, settle and unlock
  check_same(Index::open(folder / "x"), collection);
}

std::string bytes_of(const std::filesystem::path& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return bytes.str();
}

std::int64_t pull(MemoryServer& server, const std::filesystem::path& out,
                  std::optional<retrieval::ItemFormat> format, const std::function<bool()>& stop) {
  MemoryCollection collection(std::shared_ptr<MemoryServer>(&server, [](MemoryServer*) {}));
  return pipeline::pull(collection, out, format, {}, stop);
}

TEST_CASE("what is pulled is what was pushed", "[push]") {
  const Case x;
  MemoryServer collection;
  push(x.open(), collection);
  using retrieval::ItemFormat;
  for (const ItemFormat format : {ItemFormat::kCodes, ItemFormat::kNpy, ItemFormat::kFaiss,
                                  ItemFormat::kCsv, ItemFormat::kPgvector, ItemFormat::kMilvus}) {
    CAPTURE(int(format));
    retrieval::write_items(x.folder / "want", x.open().contents(), format);
    CHECK(pull(collection, x.folder / "got", format, [] { return false; }) == 500);
    CHECK(bytes_of(x.folder / "got") == bytes_of(x.folder / "want"));
  }
  std::filesystem::remove(x.folder / "got");
  CHECK(pull(collection, x.folder / "got", ItemFormat::kCsv, [] { return true; }) == -1);
  CHECK(!std::filesystem::exists(x.folder / "got"));
  // A new index has all of it: what is known of the classes and the model too.
  CHECK(pull(collection, x.folder / "index", std::nullopt, [] { return false; }) == 500);
  const Index made = Index::open(x.folder / "index");
  CHECK(made.manifest().class_names == x.open().manifest().class_names);
  CHECK(made.manifest().model_hash == x.open().manifest().model_hash);
  check_same_items(made, collection);
  CHECK(pull(collection, x.folder / "stopped", std::nullopt, [] { return true; }) == -1);
  CHECK(!std::filesystem::exists(x.folder / "stopped"));
  MemoryServer none;
  REQUIRE_THROWS_AS(pull(none, x.folder / "got", ItemFormat::kCsv, [] { return false; }),
                    std::invalid_argument);
}

}  // namespace
}  // namespace hh

// SPDX-License-Identifier: Apache-2.0
#include "retrieval/index/index.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <map>
#include <thread>

#include "retrieval/index/filter.h"
#include "retrieval/index/snapshot.h"
#include "retrieval/search/hamming_scan.h"
#include "tests/support/codes.h"
#include "tests/support/temporary_folder.h"

namespace hh::retrieval {
namespace {

using Catch::Contains;
using Ids = std::vector<std::int64_t>;

/// Items first, first + 1, ...; item i has the class i % 3, the path p/i.png, metadata {"n": i}.
ItemSet make_items(std::int64_t first, std::int64_t count, int bits = 40) {
  ItemSet items;
  items.set.codes = PackedCodes(count, bits);
  const auto words = testing::codes(first + count, bits, 7);
  const int row_words = items.set.codes.row_words();
  items.set.classes = 3;
  items.set.class_names = {"cat", "dog", "fish"};
  items.set.model_hash = "0123456789abcdef";
  items.set.source = "test";
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t id = first + i;
    std::copy_n(words.begin() + id * row_words, row_words, items.set.codes.row(i).begin());
    items.set.ids.push_back(id);
    items.set.labels.push_back(std::uint64_t{1} << (id % 3));
    items.set.names.push_back("p/" + std::to_string(id) + ".png");
    items.metadata.push_back("{\"n\":" + std::to_string(id) + "}");
  }
  return items;
}

/// id -> everything else, as text.
std::map<std::int64_t, std::string> state(const Index& index) {
  std::map<std::int64_t, std::string> state;
  const ItemSet all = index.contents();
  const auto bytes = all.set.codes.to_bytes();
  const auto width = std::size_t(index.bits()) / 8;
  for (std::int64_t i = 0; i < all.set.count(); ++i) {
    std::string text(bytes.begin() + std::ptrdiff_t(std::size_t(i) * width),
                     bytes.begin() + std::ptrdiff_t(std::size_t(i + 1) * width));
    const auto at = std::size_t(i);
    if (!all.set.names.empty()) text += " " + all.set.names[at];
    if (!all.metadata.empty()) text += " " + all.metadata[at];
    for (int c = 0; c < all.set.classes; ++c) {
      if (all.set.label_view().has(i, c)) text += " " + std::to_string(c);
    }
    REQUIRE(state.emplace(all.set.ids[at], text).second);
  }
  return state;
}

Ids ids_of(const Index& index, const RowMask& mask) {
  Ids ids;
  for (std::int64_t row = 0; row < index.rows(); ++row) {
    if (mask.test(row)) ids.push_back(index.ids()[std::size_t(row)]);
  }
  return ids;
}

TEST_CASE("who builds a large index hears how far it is", "[index]") {
  const testing::TemporaryFolder folder;
  ItemSet items = make_items(0, 40'000);
  items.set.names.assign(40'000, "x");
  std::vector<std::int64_t> told;
  build_index(folder.path() / "x", items, false, false,
              [&](std::int64_t done) { told.push_back(done); });
  REQUIRE(told.size() >= 3);
  CHECK(std::is_sorted(told.begin(), told.end()));
  CHECK(told.back() <= 40'000);
  CHECK(Index::open(folder.path() / "x").count() == 40'000);
}

TEST_CASE("an index holds what was put in, through every change", "[index]") {
  const testing::TemporaryFolder folder;
  const auto path = folder / "a.index";
  const int bits = GENERATE(8, 64, 72, 512);
  CAPTURE(bits);
  build_index(path, make_items(0, 10, bits));
  const auto expected = [&](const Ids& ids) {
    std::map<std::int64_t, std::string> chosen;
    build_index(folder / "all", make_items(0, 30, bits), true);
    const auto all = state(Index::open(folder / "all"));
    for (const std::int64_t id : ids) chosen[id] = all.at(id);
    return chosen;
  };
  CHECK(state(Index::open(path)) == expected({0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  {
    IndexWriter writer(path);
    CHECK(writer.add(make_items(10, 3, bits)) == 0);
    CHECK(writer.remove(Ids{3, 99, 0, 12}) == 3);
    CHECK(writer.remove(Ids{3}) == 0);
    CHECK(writer.index().count() == 10);
  }
  const auto left = expected({1, 2, 4, 5, 6, 7, 8, 9, 10, 11});
  CHECK(state(Index::open(path)) == left);
  const Index before = Index::open(path);
  {
    IndexWriter writer(path);
    writer.compact();
    CHECK(writer.index().rows() == 10);
    CHECK(writer.index().allowed() == nullptr);
    CHECK(state(writer.index()) == left);
    // The ids of deleted items are free again.
    writer.add(make_items(12, 1, bits));
    Description changed{"q.jpg", {0, 2}, R"({"n": -1})"};
    writer.update(5, changed);
    CHECK_THROWS_WITH(writer.update(50, changed), Contains("no item with id 50"));
    ItemSet other = make_items(6, 1, bits);
    other.set.codes = make_items(20, 1, bits).set.codes;
    CHECK(writer.add(other, SameId::kReplace) == 1);
    other.set.ids = {0};
    CHECK(writer.add(other, SameId::kRenumber) == 0);
  }
  // A reader keeps the state that it opened, even when its files are gone.
  CHECK(state(before) == left);
  const Index index = Index::open(path);
  CHECK(index.count() == 12);
  CHECK(index.manifest().next_id == 14);
  const IndexItem five = index.item(*index.row_of(5));
  CHECK(five.description.path == "q.jpg");
  CHECK(five.description.labels == std::vector<int>{0, 2});
  const auto now = state(index);
  CHECK(now.at(5).substr(0, std::size_t(bits) / 8) == left.at(5).substr(0, std::size_t(bits) / 8));
  CHECK(now.at(6).substr(0, std::size_t(bits) / 8) ==
        expected({20}).at(20).substr(0, std::size_t(bits) / 8));
  CHECK(now.at(13) == now.at(6));
  CHECK(!index.row_of(0));
  CHECK(index.item(*index.row_of(12)).description.path == "p/12.png");
}

TEST_CASE("searches of an index see neither deleted nor filtered rows", "[index]") {
  const testing::TemporaryFolder folder;
  build_index(folder / "a", make_items(0, 100));
  IndexWriter writer(folder / "a");
  const auto found = [&](const std::vector<std::string>& filters) {
    return ids_of(writer.index(), writer.index().select(filters));
  };
  writer.remove(Ids{0, 50, 99});
  const Index& index = writer.index();
  const HammingScan scan(index.codes());
  const auto all = scan.topk(index.codes().slice(50, 51), 100, index.allowed());
  CHECK(std::count(all.rows.begin(), all.rows.end(), -1) == 3);
  CHECK(std::count(all.rows.begin(), all.rows.end(), 50) == 0);
  CHECK(found({"label=cat", "id<10"}) == Ids{3, 6, 9});
  CHECK(found({"label=0", "id<=9", "id>3"}) == Ids{6, 9});
  CHECK(found({"label=cat,dog", "id<5"}) == Ids{1, 3, 4});
  CHECK(found({"label!=cat", "id<5"}) == Ids{1, 2, 4});
  CHECK(found({"path=p/7.png"}) == Ids{7});
  CHECK(found({"path~p/1?.png", "id!=12", "label=dog"}) == Ids{10, 13, 16, 19});
  CHECK(found({"n>=97"}) == Ids{97, 98});
  CHECK(found({"n=8"}) == Ids{8});
  CHECK(found({"n!=8", "id=8"}).empty());
  CHECK(found({"n=-8"}).empty());
  CHECK(found({" label = cat ", "id <  10"}) == Ids{3, 6, 9});
  CHECK(found({"n >=\t97"}) == Ids{97, 98});
  for (const char* const slip : {"nothing=8", "nothing != 8", "Label=cat", "N<8"}) {
    CHECK_THROWS_WITH(found({slip}),
                      Contains("no item's metadata have a") && Contains("label, path and id"));
  }
  CHECK_THROWS_WITH(found({"n<abc"}), Contains("'abc' isn't a number, and 'n' is one"));
  CHECK_THROWS_WITH(found({" =8"}), Contains("write it as label=dog"));
  CHECK(found({"id=50"}).empty());
  CHECK_THROWS_WITH(found({"label=bird"}), Contains("3 classes: cat, dog, fish"));
  CHECK_THROWS_WITH(found({"label=3"}), Contains("3 classes"));
  CHECK_THROWS_WITH(found({"label"}), Contains("label=dog"));
  CHECK_THROWS_WITH(found({"label<3"}), Contains("can't be <"));
  CHECK_THROWS_WITH(found({"id=x"}), Contains("'x' isn't a number"));
  CHECK_THROWS_WITH(found({"n~x"}), Contains("paths only"));
}

/// Outputs of these items: those of item i start with i.
ItemSet with_outputs(ItemSet items) {
  const auto bits = std::size_t(items.set.codes.bits());
  items.set.outputs.resize(std::size_t(items.set.count()) * bits, -0.5F);
  for (std::size_t i = 0; i < items.set.ids.size(); ++i) {
    items.set.outputs[i * bits] = float(items.set.ids[i]);
  }
  return items;
}

TEST_CASE("an index keeps outputs through every change", "[index]") {
  const testing::TemporaryFolder folder;
  build_index(folder / "a", with_outputs(make_items(0, 20)), false, true);
  const auto check = [&](const Ids& ids) {
    const Index index = Index::open(folder / "a");
    const ItemSet all = index.contents();
    REQUIRE(all.set.ids == ids);
    REQUIRE(all.set.outputs == with_outputs(all).set.outputs);
    REQUIRE(std::int64_t(index.outputs().size()) == index.rows() * 40);
  };
  {
    IndexWriter writer(folder / "a");
    writer.add(with_outputs(make_items(20, 3)));
    writer.remove(Ids{1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18});
    writer.update(0, {.path = "x", .labels = {}, .metadata = ""});
    check({3, 19, 20, 21, 22, 0});
    writer.compact();
    check({3, 19, 20, 21, 22, 0});
    CHECK_THROWS_WITH(writer.add(make_items(30, 1)), Contains("--outputs"));
    CHECK(std::filesystem::exists(writer.index().folder() /
                                  writer.index().manifest().outputs_name()));
  }
  check({3, 19, 20, 21, 22, 0});
  CHECK_THROWS_WITH(build_index(folder / "b", make_items(0, 2), false, true),
                    Contains("--outputs"));
  CHECK(!std::filesystem::exists(folder / "b"));
  // Without the wish they are left out, and the index is one that older programs read.
  build_index(folder / "c", with_outputs(make_items(0, 2)));
  CHECK(Index::open(folder / "c").outputs().empty());
  CHECK(to_text(Index::open(folder / "c").manifest()).find("outputs") == std::string::npos);
}

TEST_CASE("damaged outputs are told by what needs them", "[index]") {
  const testing::TemporaryFolder folder;
  const auto path = folder / "a";
  build_index(path, with_outputs(make_items(0, 20)), false, true);
  IndexWriter(path).add(with_outputs(make_items(20, 3)));
  const auto spoil = [&](int row) {
    const auto file = path / read_index_manifest(path).outputs_name();
    std::fstream(file, std::ios::in | std::ios::out | std::ios::binary)
        .seekp(64 + row * 40 * 4 + 3)
        .put('x');
  };
  const Index before = Index::open(path);
  CHECK(before.outputs_of(2).size() == 40);  // so rows 0 to 19 are known to be right
  spoil(21);
  const Index index = Index::open(path);
  CHECK(index.select({}).count() == 23);
  CHECK(index.outputs_of(19).size() == 40);
  const auto wrong = Contains("check sum of rows 20 to 22 is wrong");
  for (int again = 0; again < 2; ++again) {
    CHECK_THROWS_WITH(index.outputs_of(20), wrong);
    CHECK_THROWS_WITH(index.outputs(), wrong);
    CHECK_THROWS_WITH(index.contents(), wrong);
  }
  CHECK_THROWS_WITH(make_snapshot(path, folder / "b", false), wrong);
  CHECK_THROWS_WITH(IndexWriter(path).compact(), wrong);
  // A change that would make their check sum anew.
  CHECK_THROWS_WITH(IndexWriter(path).add(with_outputs(make_items(23, 2))), wrong);
  CHECK(Index::open(path).count() == 23);
  // One that leaves them as they are.
  IndexWriter(path).add(with_outputs(make_items(23, 1)));
  spoil(0);
  const Index after = Index::open(path, &before);
  CHECK(after.outputs_of(23).size() == 40);
  CHECK(after.outputs_of(0).size() == 40);  // checked before it was spoilt
  CHECK_THROWS_WITH(after.outputs_of(22), wrong);
  CHECK_THROWS_WITH(Index::open(path).outputs_of(0), Contains("rows 0 to 19 is wrong"));
}

TEST_CASE("filters that are asked for again see what has changed", "[index]") {
  const testing::TemporaryFolder folder;
  build_index(folder / "a", make_items(0, 30));
  IndexWriter writer(folder / "a");
  const auto cats = [&] { return ids_of(writer.index(), writer.index().select({"label=cat"})); };
  const Ids at_first = cats();
  CHECK(cats() == at_first);
  writer.remove(Ids{at_first[0]});
  CHECK(cats() == Ids(at_first.begin() + 1, at_first.end()));
  writer.add(make_items(30, 3));
  CHECK(cats().size() == at_first.size());
  CHECK(cats().back() == 30);
}

TEST_CASE("a later state is opened from an older one", "[index]") {
  const testing::TemporaryFolder folder;
  build_index(folder / "a", make_items(0, 200));
  const Index first = Index::open(folder / "a");
  IndexWriter(folder / "a", 10, &first).add(make_items(200, 30));
  IndexWriter(folder / "a", 10, &first).remove(Ids{3, 210});
  const Index second = Index::open(folder / "a", &first);
  CHECK(second.continues(first));
  CHECK(!first.continues(second));
  CHECK(state(second) == state(Index::open(folder / "a")));
  IndexWriter(folder / "a").add(make_items(300, 5));
  const Index third = Index::open(folder / "a", &second);
  CHECK(third.count() == 200 + 30 - 2 + 5);
  CHECK(!third.is_live(3));
  CHECK(state(third) == state(Index::open(folder / "a")));
  // What came since is checked, what was there isn't again.
  const auto path = folder / "a" / third.manifest().ids_name();
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary).seekp(64 + 8 * 232).put('x');
  CHECK_THROWS_WITH(Index::open(folder / "a", &second), Contains("check sum"));
  // A compacted or replaced index is another one, whatever its files are called.
  IndexWriter(folder / "a", 10, &third).compact();
  CHECK(!Index::open(folder / "a", &third).continues(third));
  build_index(folder / "b", make_items(0, 10));
  const Index old = Index::open(folder / "b");
  build_index(folder / "b", make_items(100, 20), true);
  const Index replaced = Index::open(folder / "b", &old);
  CHECK(!replaced.continues(old));
  CHECK(state(replaced).begin()->first == 100);
}

TEST_CASE("metadata compare by their types", "[index]") {
  const testing::TemporaryFolder folder;
  ItemSet items = make_items(0, 6);
  items.metadata = {R"({"a":{"b":2},"t":"10","f":true})",
                    R"({"a":{"b":10.5},"t":"9"})",
                    R"({"a":{"b":"10.5"},"f":false})",
                    "",
                    R"({"t":10,"f":null})",
                    R"({"t":"O'Brien; --"})"};
  build_index(folder / "a", items);
  const Index index = Index::open(folder / "a");
  const auto found = [&](const std::string& filter) {
    return ids_of(index, index.select({filter}));
  };
  CHECK(found("a.b>2") == Ids{1});
  CHECK(found("a.b>=2") == Ids{0, 1});
  CHECK(found("a.b=10.5") == Ids{1, 2});
  CHECK(found("t=10") == Ids{0, 4});
  CHECK(found("t>9") == Ids{4});
  CHECK(found("f=true") == Ids{0});
  CHECK(found("f=null") == Ids{4});
  CHECK(found("f!=false") == Ids{0, 1, 3, 4, 5});
  CHECK(found("t=O'Brien; --") == Ids{5});
  CHECK(found("t>=A") == Ids{5});
}

TEST_CASE("an index refuses what doesn't belong in it", "[index]") {
  const testing::TemporaryFolder folder;
  const auto path = folder / "a";
  build_index(path, make_items(0, 4));
  CHECK_THROWS_WITH(build_index(path, make_items(0, 4)), Contains("exists already"));
  build_index(path, make_items(0, 5), true);
  std::filesystem::create_directory(folder / "photos");
  std::ofstream(folder / "photos/x.png") << "x";
  CHECK_THROWS_WITH(build_index(folder / "photos", make_items(0, 4), true),
                    Contains("isn't an index"));
  IndexWriter writer(path);
  const auto refused = [&](const ItemSet& items, const std::string& why) {
    CAPTURE(why);
    CHECK_THROWS_WITH(writer.add(items), Contains(why));
    CHECK(writer.index().rows() == 5);
  };
  refused(make_items(4, 3), "id 4 is in the index already");
  refused(make_items(10, 3, 64), "64 bits for an index of 40");
  ItemSet items = make_items(10, 3);
  items.set.model_hash = "fedcba9876543210";
  refused(items, "one model");
  items = make_items(10, 3);
  items.set.ids[1] = 10;
  refused(items, "id 10 comes twice");
  items.set.ids[1] = -1;
  refused(items, "ids from 0 on");
  items = make_items(10, 3);
  items.set.class_names = {"cow", "dog", "dog"};
  refused(items, "two classes of the codes are called 'dog'");
  items = make_items(10, 3);
  for (const std::string text : {"[1]", "{", "3", "{} {}"}) {
    items.metadata[2] = text;
    refused(items, "must be a JSON object");
  }
  items.metadata[2] = "{\"a\":" + std::string(2000, '[') + std::string(2000, ']') + "}";
  refused(items, "must be a JSON object");
  items.metadata[2] = "{\"a\":\"" + std::string(70000, 'x') + "\"}";
  refused(items, "the most is");
  // Unknown models are taken.
  items = make_items(10, 1);
  items.set.model_hash.clear();
  CHECK(writer.add(items) == 0);
  CHECK_THROWS_WITH(IndexWriter(path, 0.05), Contains("another process writes"));
  CHECK_THROWS_AS(IndexWriter(path, 0.05), IndexBusy);
  CHECK(Index::open(path).count() == 6);
  CHECK_THROWS_WITH(Index::open(folder / "none"), Contains("no such index"));
  CHECK_THROWS_WITH(Index::open(folder / "photos"), Contains("not an index"));
}

TEST_CASE("an index knows how its codes were made, and that some were made otherwise", "[index]") {
  const testing::TemporaryFolder folder;
  const auto path = folder / "photos.index";
  ItemSet items = make_items(0, 3);
  items.set.source = "photos";
  items.set.scaled_shorter_side = 36;
  build_index(path, items);
  const auto now = [&] { return Index::open(path).manifest(); };
  CHECK(now().scaled_shorter_side == 36);
  CHECK_FALSE(now().int8_mixed);
  const auto add = [&](std::int64_t id, int side, const std::string& hash, const char* source) {
    ItemSet more = make_items(id, 1);
    more.set.source = source;
    more.set.scaled_shorter_side = side;
    more.set.model_hash = hash;
    IndexWriter(path).add(more, SameId::kRefuse, Int8Codes::kMixed);
  };
  const std::string hash = items.set.model_hash;
  add(10, 36, hash, "others");
  add(11, 0, hash, "");  // by a server, or as bare codes
  add(12, 0, "", "a table");
  CHECK_FALSE(now().int8_mixed);
  CHECK_FALSE(now().decoding_mixed);
  add(13, 36, hash + "-int8", "photos");
  CHECK(now().int8_mixed);
  CHECK_FALSE(now().decoding_mixed);
  add(14, 0, hash, "photos");
  CHECK(now().int8_mixed);
  CHECK(now().decoding_mixed);
  CHECK(now().model_hash == hash);
  // Of an index whose own codes came from nobody knows where, only what is added is known.
  ItemSet bare = make_items(0, 3);
  bare.set.source.clear();
  build_index(folder / "bare", bare);
  ItemSet more = make_items(20, 1);
  more.set.scaled_shorter_side = 36;
  IndexWriter(folder / "bare").add(more);
  CHECK_FALSE(read_index_manifest(folder / "bare").decoding_mixed);
  more.set.ids[0] = 21;
  more.set.model_hash.clear();
  more.set.int8_mixed = true;
  IndexWriter(folder / "bare").add(more);
  CHECK(read_index_manifest(folder / "bare").int8_mixed);
  // What is exported says so, and what is built of that.
  write_code_file(folder / "codes", Index::open(path).contents().set);
  build_index(folder / "again", {.set = read_code_file(folder / "codes"), .metadata = {}});
  CHECK(static_cast<CodeOrigin>(read_index_manifest(folder / "again")) ==
        static_cast<CodeOrigin>(now()));
}

TEST_CASE("an index that is being changed is replaced afterwards", "[index]") {
  const testing::TemporaryFolder folder;
  const auto path = folder / "x";
  build_index(path, make_items(0, 10));
  auto writer = std::make_unique<IndexWriter>(path);
  std::atomic<bool> replaced = false;
  std::thread other([&] {
    build_index(path, make_items(0, 4), /*replace_existing=*/true);
    replaced = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  CHECK_FALSE(replaced);
  const std::vector<std::int64_t> gone{0, 1};
  CHECK(writer->remove(gone) == 2);
  CHECK(Index::open(path).count() == 8);
  writer.reset();
  other.join();
  CHECK(Index::open(path).count() == 4);
}

TEST_CASE("an empty index works", "[index]") {
  const testing::TemporaryFolder folder;
  ItemSet none;
  none.set.codes = PackedCodes(0, 48);
  build_index(folder / "a", none);
  const Index index = Index::open(folder / "a");
  CHECK(index.count() == 0);
  CHECK(index.codes().bits == 48);
  const PackedCodes query(1, 48);
  CHECK(HammingScan(index.codes()).topk(query, 2).rows == Ids{-1, -1});
  CHECK(index.contents().set.count() == 0);
  IndexWriter writer(folder / "a");
  writer.compact();
  writer.add(make_items(5, 2, 48));
  CHECK(writer.remove(Ids{5, 6}) == 2);
  writer.compact();
  CHECK(writer.index().rows() == 0);
  CHECK(writer.index().manifest().next_id == 7);
}

TEST_CASE("many small changes leave few segments and few files", "[index]") {
  const testing::TemporaryFolder folder;
  build_index(folder / "a", make_items(0, 1));
  {
    IndexWriter writer(folder / "a");
    for (int i = 1; i < 40; ++i) writer.add(make_items(i, 1));
    writer.remove(Ids{7});
    writer.remove(Ids{8});
    CHECK(writer.index().manifest().segments.size() <= 7);
  }
  const Index index = Index::open(folder / "a");
  CHECK(index.count() == 38);
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "a")) {
    files += !entry.path().string().ends_with("-wal") && !entry.path().string().ends_with("-shm");
  }
  CHECK(files == 6);  // manifest, codes, ids, items, deleted, lock
}

TEST_CASE("a change stands though what it leaves behind can't be removed", "[index]") {
  const testing::TemporaryFolder folder;
  const auto path = folder / "a.index";
  build_index(path, make_items(0, 10));
  // Names of files that nothing needs any more, which are folders that aren't empty.
  for (const char* name : {"deleted-99", "manifest.json.1.tmp"}) {
    std::filesystem::create_directories(path / name / "something");
  }
  IndexWriter writer(path);
  CHECK(writer.add(make_items(10, 5)) == 0);
  CHECK(writer.remove(Ids{3}) == 1);
  writer.compact();
  CHECK(writer.index().count() == 14);
  CHECK(Index::open(path).count() == 14);
  CHECK(std::filesystem::exists(path / "deleted-99"));
}

TEST_CASE("damage to an index is told, not searched", "[index]") {
  const testing::TemporaryFolder folder;
  const auto path = folder / "a";
  build_index(path, make_items(0, 100));
  IndexWriter(path).remove(Ids{1, 2});
  const IndexManifest manifest = read_index_manifest(path);
  const auto spoil = [&](const std::string& name, std::int64_t at, int change) {
    std::fstream file(path / name, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at, at < 0 ? std::ios::end : std::ios::beg);
    const auto place = file.tellg();
    const char byte = char(file.get() ^ change);
    file.seekp(place);
    file.put(byte);
  };
  const auto check_damage = [&](const std::string& why) {
    CAPTURE(why);
    CHECK_THROWS_WITH(Index::open(path), Contains(why));
    CHECK_THROWS_WITH(IndexWriter(path), Contains(why));
  };
  for (const auto& name : {manifest.codes_name(), manifest.ids_name(), manifest.deleted_name()}) {
    spoil(name, -1, 4);
    check_damage(name == manifest.deleted_name() ? "check sum is wrong" : "rows 0 to 99 is wrong");
    spoil(name, -1, 4);
  }
  spoil(manifest.codes_name(), 3, 1);
  check_damage("header");
  spoil(manifest.codes_name(), 3, 1);
  Index::open(path);

  const std::string text = to_text(manifest);
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    const auto at = changed.find(from);
    REQUIRE(at != std::string::npos);
    std::ofstream(path / "manifest.json") << changed.replace(at, from.size(), to);
  };
  with("\"bits\": 40", "\"bits\": 48");
  check_damage("its check sum is wrong");
  with("\"version\": 1", "\"version\": 3");
  check_damage("version 3 is newer than this program's 2");
  with("\"version\": 1", "\"version\": 1e99");
  check_damage("version = ");
  with("hybridhash index", "hybridhash codes");
  check_damage("isn't JSON of the format");
  std::ofstream(path / "manifest.json") << text.substr(0, text.size() / 2);
  check_damage("isn't JSON");
  std::ofstream(path / "manifest.json") << "";
  check_damage("isn't JSON");
  // A manifest that is sound in itself and wrong about the files.
  IndexManifest wrong = manifest;
  wrong.segments[0].rows = 101;
  write_index_manifest(path, wrong);
  check_damage("cut short: 100 of 101 rows");
  wrong = manifest;
  wrong.deleted = 3;
  write_index_manifest(path, wrong);
  check_damage("its marks aren't those counted");
  wrong = manifest;
  wrong.segments[0].rows = std::int64_t{1} << 41;
  write_index_manifest(path, wrong);
  check_damage("rows = 2199023255552");
  write_index_manifest(path, manifest);
  Index::open(path);

  std::filesystem::resize_file(path / manifest.codes_name(), 64 + 99 * 8);
  check_damage("cut short: 99 of 100 rows");
  build_index(path, make_items(0, 100), true);
  std::ofstream(path / "items-0.db", std::ios::trunc) << "not a database";
  check_damage("items-0.db");
  build_index(path, make_items(0, 100), true);
  std::filesystem::remove(path / "items-0.db");
  ItemTable(path / "items-0.db", ItemTable::Mode::kCreate);
  check_damage("has lost");
}

TEST_CASE("an index lies below a path of any length", "[index]") {
  const testing::TemporaryFolder folder;
  // 400 bytes are SQLite's own, more than 512 it doesn't take, and PATH_MAX is 4096.
  for (const int parts : {2, 3, 15}) {
    CAPTURE(parts);
    std::filesystem::path place = folder.path();
    for (int i = 0; i < parts; ++i) place /= std::string(200, char('a' + i));
    std::filesystem::create_directories(place);
    ItemSet items;
    items.set.codes = PackedCodes(2, 16);
    items.set.codes.set(1, 3, true);
    items.set.ids = {4, 9};
    items.set.names = {"a.png", "b.png"};
    build_index(place / "i", items);
    IndexWriter(place / "i").remove(std::vector<std::int64_t>{4});
    const Index index = Index::open(place / "i"), again = Index::open(place / "i");
    IndexWriter(place / "i").compact();
    CHECK(index.count() == 1);
    CHECK(again.item(*index.row_of(9)).description.path == "b.png");
    const Index compacted = Index::open(place / "i");
    CHECK(compacted.item(0).description.path == "b.png");
    // Nothing is left of SQLite's log in another place.
    std::filesystem::create_directory_symlink(place / "i", folder / std::to_string(parts));
    CHECK(Index::open(folder / std::to_string(parts)).item(0).description.path == "b.png");
  }
}

}  // namespace
}  // namespace hh::retrieval

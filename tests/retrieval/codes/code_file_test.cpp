// SPDX-License-Identifier: Apache-2.0
#include "retrieval/codes/code_file.h"

#include <catch2/catch.hpp>
#include <map>

#include "engine/files/safetensors.h"
#include "retrieval/files/npy.h"
#include "tests/support/temporary_folder.h"

namespace hh::retrieval {
namespace {

CodeSet full_set() {
  CodeSet set;
  const std::vector<std::uint8_t> bytes{1, 2, 3, 4, 5, 6};
  set.codes = PackedCodes::from_bytes(bytes, 3, 16);
  set.ids = {7, -1, std::int64_t{1} << 60};
  set.classes = 70;
  set.labels = {1, 0, 0, 1 << 5, 3, 1};
  set.names = {"a/b.jpg", "", "zö.png"};
  set.outputs.assign(48, 0.5f);
  for (int c = 0; c < 70; ++c) set.class_names.push_back("class \"" + std::to_string(c) + '"');
  set.model_hash = "abc";
  set.source = "a folder";
  return set;
}

void require_equal(const CodeSet& a, const CodeSet& b) {
  REQUIRE(a.codes.bits() == b.codes.bits());
  REQUIRE(a.codes.to_bytes() == b.codes.to_bytes());
  REQUIRE(a.ids == b.ids);
  REQUIRE(a.classes == b.classes);
  REQUIRE(a.labels == b.labels);
  REQUIRE(a.names == b.names);
  REQUIRE(a.outputs == b.outputs);
  REQUIRE(a.class_names == b.class_names);
  REQUIRE(a.model_hash == b.model_hash);
  REQUIRE(a.source == b.source);
}

TEST_CASE("code files come back as they were written", "[code_file]") {
  const testing::TemporaryFolder folder;
  CodeSet set = full_set();
  write_code_file(folder / "codes", set);
  require_equal(read_codes(folder / "codes"), set);
  REQUIRE(set.name(0) == "a/b.jpg");
  set.names.clear();
  set.labels.clear();
  set.class_names.clear();
  set.outputs.clear();
  set.classes = 0;
  write_code_file(folder / "codes", set);
  require_equal(read_code_file(folder / "codes"), set);
  REQUIRE(set.name(0) == "#7");
  CodeSet empty;
  empty.codes = PackedCodes(0, 512);
  write_code_file(folder / "codes", empty);
  require_equal(read_code_file(folder / "codes"), empty);
}

TEST_CASE("labels past the last class are refused before anything is made of them", "[code_file]") {
  const testing::TemporaryFolder folder;
  CodeSet set = full_set();
  set.labels[3] |= std::uint64_t{1} << 6;  // class 70 of 70
  REQUIRE_THROWS_WITH(set.validate(),
                      Catch::Contains("item 1 has a class past the last of 70 classes"));
  REQUIRE_THROWS_AS(write_code_file(folder / "codes", set), std::invalid_argument);
  REQUIRE_FALSE(std::filesystem::exists(folder / "codes"));
}

TEST_CASE("codes are read from npy files too", "[code_file]") {
  const testing::TemporaryFolder folder;
  const std::vector<std::uint8_t> bytes{1, 2, 3, 4, 5, 6};
  write_npy<std::uint8_t>(folder / "c.npy", std::vector<std::int64_t>{2, 3}, bytes);
  const CodeSet set = read_codes(folder / "c.npy");
  REQUIRE(set.codes.bits() == 24);
  REQUIRE(set.codes.to_bytes() == bytes);
  REQUIRE(set.ids == std::vector<std::int64_t>{0, 1});
  write_npy<std::uint8_t>(folder / "c.npy", std::vector<std::int64_t>{6}, bytes);
  REQUIRE_THROWS_WITH(read_codes(folder / "c.npy"), Catch::Contains("[n, bits/8]"));
  write_npy<std::uint8_t>(folder / "c.npy", std::vector<std::int64_t>{2, 0}, {});
  REQUIRE_THROWS_WITH(read_codes(folder / "c.npy"), Catch::Contains("1 to 64 bytes"));
}

/// The parts of a file, to be spoiled one by one.
struct Parts {
  std::map<std::string, SafetensorsItem> items;
  std::map<std::string, std::string> metadata;
  std::vector<std::uint8_t> codes = std::vector<std::uint8_t>(6);
  std::vector<std::int64_t> numbers{0, 1, 2, 3}, labels{0, 1, 2};
  std::string names = "abc";

  Parts() {
    const auto of = [](const auto& values, std::size_t count) {
      return std::as_bytes(std::span(values)).first(count);
    };
    const auto add = [&](SafetensorsItem item) { items[item.name] = item; };
    add({"codes", "U8", {3, 2}, of(codes, 6)});
    add({"ids", "I64", {3}, of(numbers, 24)});
    add({"labels", "I64", {3, 1}, of(labels, 24)});
    add({"names", "U8", {3}, of(names, 3)});
    add({"name_offsets", "I64", {4}, of(numbers, 32)});
    metadata = {{"format", "hybridhash codes"},
                {"version", "1"},
                {"bits", "16"},
                {"classes", "2"},
                {"class_names", R"(["x","y"])"}};
  }
};

TEST_CASE("broken code files are refused with the reason", "[code_file]") {
  const testing::TemporaryFolder folder;
  const auto read = [&](const Parts& parts) {
    std::vector<SafetensorsItem> items;
    for (const auto& [name, item] : parts.items) items.push_back(item);
    write_safetensors(folder / "c", items, parts.metadata);
    return read_code_file(folder / "c");
  };
  REQUIRE(read(Parts()).names == std::vector<std::string>{"a", "b", "c"});
  const auto refused = [&](const auto& spoil, const std::string& why) {
    Parts parts;
    spoil(parts);
    CAPTURE(why);
    REQUIRE_THROWS_WITH(read(parts), Catch::Contains(why));
  };
  const auto metadata = [&](const std::string& key, const std::string& value,
                            const std::string& why) {
    refused([&](Parts& p) { p.metadata[key] = value; }, why);
  };
  metadata("format", "other", "its format is 'other'");
  metadata("version", "2", "newer than this program's 1");
  metadata("version", "", "version = ''");
  metadata("version", "99999999999999999999", "version = '9999");
  metadata("bits", "17", "codes has the shape [3, 2], not [3, 3]");
  metadata("bits", "0", "bits = '0'");
  metadata("bits", "-8", "bits = '-8'");
  metadata("bits", "24", "codes has the shape [3, 2], not [3, 3]");
  metadata("classes", "70", "labels has the shape [3, 1], not [3, 2]");
  metadata("classes", "65537", "classes = '65537'");
  const auto one_class = [](Parts& p) {
    p.metadata["class_names"] = R"(["x"])", p.metadata["classes"] = "1";
  };
  refused(one_class, "item 2 has a class past the last");
  metadata("part", "3/3", "metadata part = '3/3'");
  metadata("class_names", R"(["x"])", "class_names isn't a list of 2");
  metadata("class_names", R"(["x",7])", "isn't a string");
  metadata("class_names", R"(["x",["y"]])", "isn't a string");
  metadata("class_names", std::string(100'000, '['), "nested too deeply");
  metadata("class_names", "[", "class_names isn't a list");
  refused([](Parts& p) { p.items.erase("codes"); }, "no tensor 'codes'");
  refused([](Parts& p) { p.items.erase("ids"); }, "no tensor 'ids'");
  refused([](Parts& p) { p.items.erase("labels"); }, "no tensor 'labels'");
  refused([](Parts& p) { p.items.erase("name_offsets"); }, "no tensor 'name_offsets'");
  refused([](Parts& p) { p.items["codes"].shape = {6}; }, "codes has 1 axes");
  refused([](Parts& p) { p.items["ids"].dtype = "U64"; }, "ids is U64, not I64");
  refused([](Parts& p) { p.items["names"].dtype = "I8"; }, "names isn't a list of bytes");
  refused([](Parts& p) { p.numbers[3] = 4; }, "name_offsets run from 0 to 4");
  refused([](Parts& p) { p.numbers[0] = 1; }, "name_offsets run from 1");
  refused([](Parts& p) { p.numbers[1] = 3, p.numbers[2] = 2; }, "ends before it begins");
  refused([](Parts& p) { p.numbers[1] = std::int64_t{1} << 62; }, "ends before it begins");
  refused([](Parts& p) { p.numbers[1] = -5; }, "ends before it begins");
}

TEST_CASE("code sets that don't fit together aren't written", "[code_file]") {
  const testing::TemporaryFolder folder;
  const auto refused = [&](const auto& spoil, const std::string& why) {
    CodeSet set = full_set();
    spoil(set);
    REQUIRE_THROWS_WITH(write_code_file(folder / "c", set), Catch::Contains(why));
    REQUIRE_FALSE(std::filesystem::exists(folder / "c"));
  };
  refused([](CodeSet& s) { s.ids.pop_back(); }, "2 ids");
  refused([](CodeSet& s) { s.names.pop_back(); }, "2 names");
  refused([](CodeSet& s) { s.labels.pop_back(); }, "5 words of labels");
  refused([](CodeSet& s) { s.outputs.pop_back(); }, "47 outputs");
  refused([](CodeSet& s) { s.class_names.pop_back(); }, "69 class names");
}

}  // namespace
}  // namespace hh::retrieval

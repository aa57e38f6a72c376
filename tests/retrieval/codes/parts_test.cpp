// SPDX-License-Identifier: Apache-2.0
#include "retrieval/codes/parts.h"

#include <catch2/catch.hpp>

#include "retrieval/codes/code_file_writer.h"
#include "tests/support/codes.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/text_file.h"

namespace hh::retrieval {
namespace {

using Catch::Contains;
namespace fs = std::filesystem;

/// Codes [begin, end) of a list of 1,000, of which every tenth couldn't be read.
CodeSet codes(std::int64_t begin, std::int64_t end, bool labels = true) {
  constexpr int kBits = 20;
  const auto words = testing::codes(1000, kBits, 1);
  CodeSet set;
  set.classes = 3;
  set.class_names = {"x", "y", "z"};
  set.model_hash = "0123456789abcdef";
  set.source = "list.txt";
  set.exif_orientation = true;
  std::vector<std::uint64_t> kept;
  for (std::int64_t i = begin; i < end; ++i) {
    if (i % 10 == 3) continue;
    kept.push_back(words[std::size_t(i)]);
    set.ids.push_back(i);
    set.names.push_back(std::string(std::size_t(i % 7), 'n') + std::to_string(i));
    set.labels.push_back(labels && i == 700 ? 4 : 0);
    set.outputs.insert(set.outputs.end(), kBits, float(i));
  }
  set.codes = PackedCodes(0, kBits);
  set.codes.append({kept.data(), std::int64_t(kept.size()), kBits});
  return set;
}

CodeSet about(const CodeSet& set) {
  CodeSet about = set;
  about.codes = PackedCodes(0, set.codes.bits());
  about.ids.clear();
  about.labels.clear();
  about.names.clear();
  about.outputs.clear();
  return about;
}

PartOfList part_of(std::int64_t number, std::int64_t count) {
  PartOfList part{.number = number,
                  .count = count,
                  .list_lines = 1000,
                  .list_xxh64 = 0xfedcba9876543210,
                  .transform = "{}",
                  .dtype = "f32"};
  part.base = PartOfList::begin(number, count, 1000);
  return part;
}

std::string write_part(const fs::path& folder, const PartOfList& part, bool labels = true) {
  CodeSet set = codes(part.base, part.end(), labels);
  set.part = part;
  const fs::path path = folder / part_file_name(part);
  CodeFileWriter writer(path, about(set), true, true);
  writer.append(set);
  writer.finish();
  return path.string();
}

std::string text(const fs::path& path) { return testing::read_text(path); }

TEST_CASE("a file written in pieces is the file written at once", "[parts]") {
  const testing::TemporaryFolder folder;
  const CodeSet whole = codes(0, 1000);
  write_code_file(folder / "at_once", whole);
  CodeFileWriter writer(folder / "pieces", about(whole), true, true);
  for (std::int64_t i = 0; i < 1000; i += 83)
    writer.append(codes(i, std::min<std::int64_t>(i + 83, 1000)));
  CHECK(!fs::exists(folder / "pieces"));
  writer.finish();
  CHECK(text(folder / "pieces") == text(folder / "at_once"));
  CHECK(writer.count() == 900);
  // Without a label there are no classes.
  CodeFileWriter plain(folder / "plain", about(whole), true, true);
  plain.append(codes(0, 100));
  plain.finish();
  CHECK(read_code_file(folder / "plain").classes == 0);
  { const CodeFileWriter unfinished(folder / "none", about(whole), true, true); }
  CHECK(!fs::exists(folder / "none"));
  CodeSet other = codes(0, 10);
  other.outputs.clear();
  CodeFileWriter with_outputs(folder / "none", about(whole), true, true);
  CHECK_THROWS_WITH(with_outputs.append(other), Contains("with and without"));
}

TEST_CASE("any number of parts put together is the whole", "[parts]") {
  const testing::TemporaryFolder folder;
  write_code_file(folder / "whole", codes(0, 1000));
  for (const std::int64_t count : {1, 2, 3, 7, 64, 1500}) {
    CAPTURE(count);
    const fs::path parts = folder / std::to_string(count);
    fs::create_directories(parts);
    for (std::int64_t i = 0; i < count; ++i) write_part(parts, part_of(i, count));
    testing::write_text(parts / "part-00000-of-00001.codes.Abc123.tmp", "left by a dead process");
    auto files = part_files(parts);
    REQUIRE(std::int64_t(files.size()) == count);
    std::reverse(files.begin(), files.end());
    CHECK(merge_parts(files, folder / "merged") == 900);
    REQUIRE(text(folder / "merged") == text(folder / "whole"));
    write_code_file(folder / "read", read_codes(parts));
    REQUIRE(text(folder / "read") == text(folder / "whole"));
  }
  // Lists without a label in any part.
  for (std::int64_t i = 0; i < 2; ++i) write_part(folder.path(), part_of(i, 2), false);
  merge_parts(part_files(folder.path()), folder / "merged");
  CHECK(read_code_file(folder / "merged").classes == 0);
}

TEST_CASE("parts that don't belong together are refused", "[parts]") {
  const testing::TemporaryFolder folder;
  std::vector<fs::path> files;
  for (std::int64_t i = 0; i < 4; ++i) files.emplace_back(write_part(folder.path(), part_of(i, 4)));
  const auto refusal = [&](const std::vector<fs::path>& parts) -> std::string {
    try {
      merge_parts(parts, folder / "merged");
    } catch (const std::runtime_error& error) {
      CHECK(!fs::exists(folder / "merged"));
      return error.what();
    }
    return "";
  };
  CHECK_THAT(refusal({}), Contains("no parts"));
  CHECK_THAT(refusal({files[0], files[1], files[3]}),
             Contains("of 4 parts there are 3; missing: 2: encode these shards"));
  CHECK_THAT(refusal({files[2]}), Contains("there is 1; missing: 0, 1, 3"));
  fs::create_directories(folder / "more");
  fs::copy(files[1], folder / "more/again");
  CHECK_THAT(refusal({files[0], files[1], files[2], files[3], folder / "more/again"}),
             Contains("part 1 is there twice"));
  write_code_file(folder / "more/whole", codes(0, 1000));
  CHECK_THAT(refusal({files[0], folder / "more/whole"}), Contains("it is a whole code file"));
  const auto with = [&](const auto& change) {
    CodeSet set = codes(250, 500);
    set.part = part_of(1, 4);
    change(set);
    write_code_file(folder / "more/other", set);
    return refusal({files[0], folder / "more/other", files[2], files[3]});
  };
  CHECK(with([](CodeSet&) {}) == "");
  fs::remove(folder / "merged");
  CHECK_THAT(with([](CodeSet& set) { set.model_hash = "f"; }),
             Contains("of another model (f, not 0123"));
  CHECK_THAT(with([](CodeSet& set) { set.part->list_xxh64 ^= 1; }),
             Contains("it is of another list"));
  CHECK_THAT(with([](CodeSet& set) { set.part->transform = "[]"; }), Contains("in another way"));
  CHECK_THAT(with([](CodeSet& set) { set.part->dtype = "bf16"; }),
             Contains("--dtype bf16, not f32"));
  CHECK_THAT(with([](CodeSet& set) {
               set.part = part_of(1, 2);
               set.part->base = 500;
             }),
             Contains("cut into 2 parts, not 4"));
  CHECK_THAT(with([](CodeSet& set) { set.class_names[0] = "w"; }), Contains("other classes"));
  CHECK_THAT(with([](CodeSet& set) { set.outputs.clear(); }), Contains("names or outputs"));
  CHECK_THAT(with([](CodeSet& set) { set.ids[5] = 249; }), Contains("its ids aren't those"));
  CHECK_THAT(with([](CodeSet& set) { std::swap(set.ids[5], set.ids[6]); }), Contains("its ids"));
}

TEST_CASE("a part that is there is told from others", "[parts]") {
  const testing::TemporaryFolder folder;
  CodeSet wanted = codes(0, 0);
  wanted.part = part_of(1, 4);
  const std::string path = write_part(folder.path(), part_of(1, 4));
  CHECK(other_part(path, wanted, true) == "");
  CHECK(other_part(path, wanted, false) == "it holds outputs (--outputs)");
  wanted.part->list_xxh64 = 1;
  CHECK(other_part(path, wanted, true) == "it is of another list");
  wanted = codes(0, 0);
  wanted.part = part_of(2, 4);
  CHECK(other_part(path, wanted, true) == "it is another part of the list");
  // One that was cut short says so.
  fs::resize_file(path, fs::file_size(path) - 1);
  CHECK_THROWS_WITH(other_part(path, wanted, true), Contains(path));
}

TEST_CASE("shards are named NUMBER/COUNT, and share a list evenly", "[parts]") {
  CHECK(PartOfList::named("3/1000")->number == 3);
  CHECK(PartOfList::named("0/1")->count == 1);
  for (const char* wrong : {"", "3", "3/", "/3", "3/3", "-1/3", "1/0", "0/0", "1/2/3", "1/ 2",
                            "a/b", "0/1000001", "99999999999999999999/3"}) {
    CAPTURE(wrong);
    CHECK(!PartOfList::named(wrong));
  }
  CHECK(part_file_name({.number = 3, .count = 1000}) == "part-00003-of-01000.codes");
  CHECK(part_file_name({.number = 3, .count = 123456}) == "part-00003-of-123456.codes");
  for (const std::int64_t lines : {std::int64_t{0}, std::int64_t{5}, std::int64_t{1} << 62}) {
    CHECK(PartOfList::begin(0, 7, lines) == 0);
    CHECK(PartOfList::begin(7, 7, lines) == lines);
  }
  CHECK(PartOfList::begin(1, 3, 10) == 3);
  CHECK(PartOfList::begin(2, 3, 10) == 6);
}

TEST_CASE("parts are the files of a folder that are called so", "[parts]") {
  const testing::TemporaryFolder folder;
  for (const char* name :
       {"part-00001-of-00003.codes", "part-0000002-of-1000000.codes", "part-0001-of-00003.codes",
        "part-00000001-of-00003.codes", "part-00001-of-003.codes", "part-0000x-of-00003.codes",
        "part-00001-of-00003", "part-00001-of-00003.codes2", "a-part-00001-of-00003.codes",
        "part-.codes"}) {
    testing::write_text(folder / name, "");
  }
  const std::vector<fs::path> files = part_files(folder.path());
  REQUIRE(files.size() == 2);
  CHECK(files[0].filename() == "part-0000002-of-1000000.codes");
  CHECK(files[1].filename() == "part-00001-of-00003.codes");
}

}  // namespace
}  // namespace hh::retrieval

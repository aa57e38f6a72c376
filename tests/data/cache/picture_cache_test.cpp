// SPDX-License-Identifier: Apache-2.0
#include "data/cache/picture_cache.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>
#include <string>

#include "engine/files/safetensors.h"
#include "engine/files/xxh64.h"
#include "tests/support/images.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/text_file.h"

namespace hh::data {
namespace {

using Catch::Contains;
using testing::picture;
using testing::TemporaryFolder;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

/// Two pictures, and a file that couldn't be decoded.
std::string small_cache(const TemporaryFolder& folder) {
  PictureCacheWriter writer(folder / "c", 3, "test");
  for (const auto& [name, height, width] : {std::tuple("/a", 5, 7), {"/bad", 0, 0}, {"/b", 2, 1}}) {
    const Image image = height > 0 ? picture(height, width, 3) : Image{};
    writer.add(name,
               {.file = {height + 1, height + 2, height + 3},
                .file_xxh64 = std::uint64_t(height) << 60,
                .height = height,
                .width = width},
               std::as_bytes(std::span(image.pixels)));
  }
  writer.commit();
  return testing::read_text(folder / "c");
}

/// A whole file around any table.
std::string around(const std::string& pixels, const std::string& table) {
  std::string file("HHPICTURES 1\0\0\0\0", 16);
  file += pixels;
  const std::uint64_t tail[3] = {file.size(), table.size(), xxh64(bytes_of(table))};
  file += table;
  file.append(reinterpret_cast<const char*>(tail), sizeof tail);
  return file + "HHPICEND";
}

std::string table_of(const std::vector<std::int64_t>& row, const std::string& names) {
  const auto head = safetensors_head({{"pictures", "I64", {std::int64_t(row.size()) / 9, 9}},
                                      {"names", "U8", {std::int64_t(names.size())}}},
                                     {{"made_by", "test"}, {"channels", "3"}});
  return head.bytes + std::string(reinterpret_cast<const char*>(row.data()), row.size() * 8) +
         names;
}

/// Empty: there are none.
std::vector<std::uint8_t> pixels_of(const PictureCache& cache, std::int64_t i) {
  std::vector<std::uint8_t> pixels;
  if (!cache.read_pixels(i, pixels)) pixels.clear();
  return pixels;
}

TEST_CASE("a file of decoded pictures gives back what was written", "[data][cache]") {
  const TemporaryFolder folder;
  small_cache(folder);
  const PictureCache cache = PictureCache::open(folder / "c");
  REQUIRE(cache.size() == 3);
  CHECK(cache.channels() == 3);
  CHECK(cache.made_by() == "test");
  const std::int64_t a = cache.find("/a");
  REQUIRE(a == 0);
  CHECK(cache.picture(a).file == FileFacts{6, 7, 8});
  CHECK(cache.picture(a).file_xxh64 == std::uint64_t{5} << 60);
  CHECK(pixels_of(cache, a) == picture(5, 7, 3).pixels);
  CHECK(pixels_of(cache, cache.find("/bad")).empty());
  CHECK(pixels_of(cache, cache.find("/b")).size() == 6);
  CHECK(cache.find("/c") == -1);
}

TEST_CASE("a file of decoded pictures that is cut short while it is open has none",
          "[data][cache]") {
  const TemporaryFolder folder;
  small_cache(folder);
  const PictureCache cache = PictureCache::open(folder / "c");
  // Within the first picture, and altogether.
  for (const int bytes : {16 + 30, 0}) {
    std::filesystem::resize_file(folder / "c", std::uintmax_t(bytes));
    CHECK(pixels_of(cache, 0).empty());
    CHECK(pixels_of(cache, 2).empty());
    CHECK(cache.find("/b") == 2);
  }
}

TEST_CASE("a sparse file of decoded pictures doesn't take the memory", "[data][cache]") {
  const TemporaryFolder folder;
  constexpr std::uint64_t kHead = 16, kTable = std::uint64_t{5} << 30;
  std::ofstream file(folder / "sparse", std::ios::binary);
  file.write("HHPICTURES 1\0\0\0\0", kHead);
  file.seekp(std::streamoff(kHead + kTable));
  const std::uint64_t tail[3] = {kHead, kTable, 0};
  file.write(reinterpret_cast<const char*>(tail), sizeof tail);
  file.write("HHPICEND", 8);
  file.close();
  CHECK_THROWS_WITH(PictureCache::open(folder / "sparse"), Contains("larger than any can be"));
}

TEST_CASE("no cut and no changed byte of such a file is believed", "[data][cache]") {
  const TemporaryFolder folder;
  const std::string whole = small_cache(folder);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    CHECK_THROWS_AS(PictureCache::parse(bytes_of(whole.substr(0, n)), "cut"), std::runtime_error);
  }
  const Image image = picture(5, 7, 3);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::string changed = whole;
    changed[i] ^= 0x10;
    try {
      // Head, table and tail are summed; a changed pixel shows when its picture is asked for.
      const PictureCache cache = PictureCache::parse(bytes_of(changed), "changed");
      const auto pixels = pixels_of(cache, 0);
      if (!pixels.empty()) CHECK(pixels == image.pixels);
    } catch (const std::runtime_error&) {
    }
  }
}

TEST_CASE("a hostile table of pictures leads nowhere", "[data][cache]") {
  const std::string pixels(48, 'p');
  const auto open = [&](const std::vector<std::int64_t>& row) {
    const std::string file = around(pixels, table_of(row, "/a"));
    const PictureCache cache = PictureCache::parse(bytes_of(file), "hostile");
    return pixels_of(cache, 0).size();
  };
  const auto sum = std::int64_t(xxh64(bytes_of(pixels)));
  REQUIRE(open({2, 1, 1, 1, 1, 4, 4, 16, sum}) == 48);
  CHECK(open({2, 1, 1, 1, 1, 0, 0, std::int64_t{1} << 62, sum}) == 0);
  constexpr std::int64_t kHuge = std::int64_t{1} << 31;
  for (const std::vector<std::int64_t>& row : std::vector<std::vector<std::int64_t>>{
           {2, 1, 1, 1, 1, 4, 4, 17, sum},    // one byte past the pixels
           {2, 1, 1, 1, 1, 4, 4, 15, sum},    // in the head
           {2, 1, 1, 1, 1, 4, 4, -16, sum},   //
           {2, 1, 1, 1, 1, 4, 5, 16, sum},    // more than there is
           {2, 1, 1, 1, 1, -4, -4, 16, sum},  //
           {2, 1, 1, 1, 1, 0, 4, 16, sum},    //
           {2, 1, 1, 1, 1, kHuge - 1, kHuge - 1, 16, sum},
           {2, 1, 1, 1, 1, kHuge * 2 + 4, 4, 16, sum},  // 4 in 32 bits
           {3, 1, 1, 1, 1, 4, 4, 16, sum},              // a name past the names
           {-1, 1, 1, 1, 1, 4, 4, 16, sum}}) {
    CHECK_THROWS_WITH(open(row), Contains("hostile: picture 0 of its table is impossible"));
  }
  for (const std::string& table : {std::string("not json"), table_of({1, 2, 3}, "")}) {
    CHECK_THROWS_AS(PictureCache::parse(bytes_of(around(pixels, table)), "hostile"),
                    std::runtime_error);
  }
  CHECK_THROWS_WITH(PictureCache::parse(bytes_of(std::string(100, 'x')), "other"),
                    "other: it is no file of decoded pictures");
}

}  // namespace
}  // namespace hh::data

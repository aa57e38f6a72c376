// SPDX-License-Identifier: Apache-2.0
#include "data/streams/line_stream.h"

#include <catch2/catch.hpp>

#include "engine/files/file_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/text_file.h"

namespace hh::data {
namespace {

using Catch::Contains;
using Lines = std::vector<std::string>;

const std::atomic<bool> kNeverStopped = false;

Lines lines_of(const std::string& list, bool null = false) {
  LineReader reader(list, null);
  Lines lines;
  for (std::string_view line; reader.next(line, kNeverStopped);) lines.emplace_back(line);
  return lines;
}

TEST_CASE("a list of paths is read as it stands", "[line_stream]") {
  const testing::TemporaryFolder folder;
  const std::string list = (folder / "l.txt").string();
  testing::write_text(list,
                      "\xef\xbb\xbf"
                      "a.jpg\n\n   \t\n my photo 1.jpg \r\n\"quoted\".png\nlast");
  CHECK(lines_of(list) == Lines{"a.jpg", " my photo 1.jpg ", "\"quoted\".png", "last"});
  CHECK(first_line(list) == "a.jpg");

  const std::string zeros = (folder / "l0").string();
  testing::write_text(zeros, std::string("a\nb.jpg\0\0 \r\0c", 13));
  CHECK(lines_of(zeros, true) == Lines{"a\nb.jpg", " \r", "c"});
  CHECK_THROWS_WITH(lines_of(zeros), Contains("l0:2: it holds a zero byte: say --null"));

  testing::write_text(zeros, "a.jpg\nb.jpg\n");
  CHECK_THROWS_WITH(lines_of(zeros, true), Contains("l0:1: it has lines and no zero byte"));
  testing::write_text(zeros, "a.jpg");
  CHECK(lines_of(zeros, true) == Lines{"a.jpg"});

  testing::write_text(list, std::string("a\0.\0j\0", 6));
  CHECK_THROWS_WITH(lines_of(list), Contains("UTF-16"));
  testing::write_text(list, "a\n" + std::string(LineReader::kMaxLine + 1, 'x') + "\n");
  CHECK_THROWS_WITH(lines_of(list), Contains("l.txt:2: the line"));
  testing::write_text(list, std::string(10 * LineReader::kMaxLine, 'x'));
  CHECK_THROWS_WITH(lines_of(list), Contains("l.txt:1: the line is longer"));
  testing::write_text(list, std::string(LineReader::kMaxLine, 'x'));
  CHECK(lines_of(list).at(0).size() == LineReader::kMaxLine);
  CHECK_THROWS_WITH(lines_of(folder.path().string()), Contains("it is a folder"));
  CHECK_THROWS_WITH(lines_of((folder / "none").string()), Contains("can't be opened"));
  // A file whose every read is an error of the disk.
  CHECK_THROWS_AS(lines_of("/proc/self/mem"), TryAgain);
}

TEST_CASE("long lists come whole whatever their length", "[line_stream]") {
  const testing::TemporaryFolder folder;
  const std::string list = (folder / "l.txt").string();
  std::string text;
  Lines wanted;
  for (int i = 0; i < 50'000; ++i) {
    wanted.push_back("folder/" + std::string(std::size_t(i % 97), 'x') + std::to_string(i));
    text += wanted.back() + "\n";
  }
  testing::write_text(list, text);
  REQUIRE(lines_of(list) == wanted);
}

TEST_CASE("the same paths have the same sum with and without --null", "[line_stream]") {
  const testing::TemporaryFolder folder;
  const std::string lines = (folder / "l.txt").string(), zeros = (folder / "l0").string();
  testing::write_text(lines, "a b.jpg\r\n\nc\n");
  testing::write_text(zeros, std::string("a b.jpg\0c\0", 10));
  const ListFacts a = list_facts(lines, false), b = list_facts(zeros, true);
  CHECK(a.lines == 2);
  CHECK(b.lines == 2);
  CHECK(a.xxh64 == b.xxh64);
  testing::write_text(lines, "a b.jpg\nd\n");
  CHECK(list_facts(lines, false).xxh64 != a.xxh64);
  // The border between two paths counts.
  testing::write_text(lines, "a b.jpgc\n");
  CHECK(list_facts(lines, false).xxh64 != a.xxh64);
  CHECK_THROWS_WITH(list_facts("/dev/null", false), Contains("write it to a file first"));
}

TEST_CASE("a range of a list has the ids of the whole", "[line_stream]") {
  const testing::TemporaryFolder folder;
  const std::string list = (folder / "l.txt").string();
  testing::write_text(list, "p0\n\np1\np2\np3\n");
  LineStream stream(list, {}, {.first = 1, .last = 3, .total = 4});
  StreamedImage image;
  REQUIRE(stream.next(image, kNeverStopped));
  CHECK(image.position == 1);
  CHECK(image.id == 1);
  CHECK(image.name == "p1");
  CHECK(image.location == list + ":3: p1");
  REQUIRE(stream.next(image, kNeverStopped));
  CHECK(image.name == "p2");
  CHECK(!stream.next(image, kNeverStopped));
  LineStream none(list, {}, {.first = 4, .last = 4, .total = 4});
  CHECK(!none.next(image, kNeverStopped));
  LineStream short_of(list, {}, {.first = 3, .last = 6, .total = 6});
  REQUIRE(short_of.next(image, kNeverStopped));
  CHECK_THROWS_WITH(short_of.next(image, kNeverStopped),
                    Contains("it has only 4 paths, and had 6"));
}

TEST_CASE("numbers behind the first path may be labels", "[line_stream]") {
  const testing::TemporaryFolder folder;
  const std::string list = (folder / "l.txt").string();
  testing::write_text(list, "a.jpg 0 1\nb.jpg 1 0\n");
  LineStream stream(list, {.refuse_labels = true});
  StreamedImage image;
  CHECK_THROWS_WITH(
      stream.next(image, kNeverStopped),
      Contains("l.txt:1: numbers stand behind the path") && Contains("--list-labels"));
  LineStream taken(list, {});
  REQUIRE(taken.next(image, kNeverStopped));
  CHECK(image.name == "a.jpg 0 1");
}

}  // namespace
}  // namespace hh::data

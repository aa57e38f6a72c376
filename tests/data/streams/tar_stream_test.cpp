// SPDX-License-Identifier: Apache-2.0
#include "data/streams/tar_stream.h"

#include <signal.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "kernels/core/philox.h"
#include "tests/support/images.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/text_file.h"

namespace hh::data {
namespace {

using Catch::Contains;

const std::atomic<bool> kNeverStopped = false;

/// A header with its check sum.
std::string header(const std::string& name, const std::string& size, char type = '0') {
  std::string block(512, '\0');
  block.replace(0, std::min<std::size_t>(name.size(), 100), name, 0, 100);
  block.replace(100, 7, "0000644");
  block.replace(124, size.size(), size);
  block[156] = type;
  block.replace(257, 8,
                std::string("ustar\0"
                            "00",
                            8));
  block.replace(148, 8, std::string(8, ' '));
  unsigned sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  char digits[8];
  std::snprintf(digits, sizeof digits, "%06o", sum);
  block.replace(148, 7, std::string(digits, 7));
  return block;
}

std::string octal(std::size_t size) {
  char digits[16];
  std::snprintf(digits, sizeof digits, "%011zo", size);
  return digits;
}

std::string member(const std::string& name, const std::string& bytes, char type = '0') {
  std::string all = header(name, octal(bytes.size()), type) + bytes;
  all.resize((all.size() + 511) / 512 * 512);
  return all;
}

std::string pax(const std::string& key, const std::string& value) {
  const std::string rest = " " + key + "=" + value + "\n";
  std::size_t length = rest.size() + 1;
  while (std::to_string(length).size() + rest.size() != length) ++length;
  return member("x", std::to_string(length) + rest, 'x');
}

const std::string kEnd(1024, '\0');

struct Found {
  std::string name, bytes;
  bool operator==(const Found&) const = default;
};

std::vector<Found> read_all(const std::string& archive) {
  TarReader reader(archive);
  std::vector<Found> found;
  std::vector<std::uint8_t> bytes;
  for (TarReader::Member m; reader.next(m, kNeverStopped);) {
    reader.read(m, bytes, kNeverStopped);
    found.push_back({m.name, std::string(bytes.begin(), bytes.end())});
  }
  return found;
}

/// Once as a file, where members that aren't read are passed over by seeking, and once as a pipe.
std::string error_of(const testing::TemporaryFolder& folder, const std::string& archive) {
  const std::string path = (folder / "x.tar").string();
  testing::write_text(path, archive);
  try {
    TarReader reader(path);
    for (TarReader::Member m; reader.next(m, kNeverStopped);) continue;
    read_all(path);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("members of an archive are read in order", "[tar]") {
  const testing::TemporaryFolder folder;
  const std::string path = (folder / "x.tar").string();
  const std::string long_name = std::string(150, 'd') + "/" + std::string(150, 'f') + ".png";
  const std::string content(1300, 'c');
  std::string base256(12, '\0');
  base256[0] = char(0x80);
  base256[11] = 3;
  testing::write_text(path, member("a/", "", '5') + member("a/1.jpg", "one") +
                                pax("path", "naïve\n.jpg") + member("short", content) +
                                member("link", "", '2') +
                                member("././@LongLink", long_name + std::string(1, '\0'), 'L') +
                                member("cut", "three") + member("g", "13 comment=hi\n", 'g') +
                                header("b.jpg", base256) + "abc" + std::string(509, '\0') +
                                member("empty.jpg", "") + kEnd + "what follows is nobody's");
  CHECK(read_all(path) == std::vector<Found>{{"a/1.jpg", "one"},
                                             {"naïve\n.jpg", content},
                                             {long_name, "three"},
                                             {"b.jpg", "abc"},
                                             {"empty.jpg", ""}});
  const TarFacts facts = tar_facts(path);
  CHECK(facts.images == 5);
}

TEST_CASE("archives of tar and of Python are read", "[tar]") {
  const testing::TemporaryFolder folder;
  const std::string in = "cd '" + folder.path().string() + "' && ";
  std::filesystem::create_directories(folder / ("in/" + std::string(90, 'l')));
  testing::write_text(folder / ("in/" + std::string(90, 'l') + "/ü 1.jpg"), "long");
  testing::write_text(folder / "in/b.jpg", std::string(2000, 'b'));
  for (const std::string format : {"ustar", "pax", "gnu"}) {
    CAPTURE(format);
    const std::string command = in + "tar --sort=name --format=" + format + " -cf x.tar in";
    REQUIRE(std::system(command.c_str()) == 0);
    const auto found = read_all((folder / "x.tar").string());
    REQUIRE(found.size() == 2);
    CHECK(found[0] == Found{"in/b.jpg", std::string(2000, 'b')});
    CHECK(found[1] == Found{"in/" + std::string(90, 'l') + "/ü 1.jpg", "long"});
  }
}

TEST_CASE("a tar that writes into a pipe is read to its end", "[tar]") {
  const testing::TemporaryFolder folder;
  // tar writes records of 20 blocks: all of them, though the archive's end is in the first.
  const std::string archive = member("a.jpg", "a") + kEnd;
  const std::string path = (folder / "pipe").string();
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  int written = 0;
  std::thread writer([&] {
    std::FILE* const to = std::fopen(path.c_str(), "wb");
    std::string all = archive;
    all.resize(20 * 512);
    // By pieces, so that the reader meets the end before all of them are there.
    for (std::size_t at = 0; at < all.size(); at += 512) {
      if (std::fwrite(all.data() + at, 1, 512, to) == 512 && std::fflush(to) == 0) ++written;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    std::fclose(to);
  });
  struct sigaction ignored {
  }, before{};
  ignored.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignored, &before);
  CHECK(read_all(path) == std::vector<Found>{{"a.jpg", "a"}});
  writer.join();
  ::sigaction(SIGPIPE, &before, nullptr);
  CHECK(written == 20);
}

TEST_CASE("damaged archives are refused with the place", "[tar]") {
  const testing::TemporaryFolder folder;
  const std::string good = member("a.jpg", std::string(700, 'a')) + member("b.jpg", "b") + kEnd;
  CHECK(error_of(folder, good) == "");
  CHECK_THAT(error_of(folder, ""), Contains("x.tar: it is empty, not a tar archive"));
  CHECK_THAT(error_of(folder, "text, and no archive"), Contains("it is cut short"));
  CHECK_THAT(error_of(folder, std::string(600, 'x')),
             Contains("it is text, not a tar archive: give"));
  CHECK_THAT(error_of(folder, "\x1f\x8b\x08" + std::string(600, 'x')),
             Contains("not a tar archive: unpack it"));
  CHECK_THAT(error_of(folder, std::string(600, '\x81')), Contains("it is no tar archive"));
  for (const std::size_t size : {100, 512, 900, 1535, 1536, 2000, 2049, 2560, 3071}) {
    CAPTURE(size);
    CHECK_THAT(error_of(folder, good.substr(0, size)), Contains("it is cut short"));
  }
  std::string flipped = good;
  flipped[1537] ^= 1;
  CHECK_THAT(error_of(folder, flipped), Contains("byte 1536: ") && Contains("check sum is wrong"));
  CHECK_THAT(error_of(folder, member("a.jpg", "a") + std::string(512, 'y') + kEnd),
             Contains("byte 1024: ") && Contains("its mark isn't there"));
  CHECK_THAT(error_of(folder, std::string(512, '\0') + good), Contains("a block of zeros"));
  CHECK_THAT(error_of(folder, header("a.jpg", "9x") + kEnd), Contains("size isn't a number"));
  CHECK_THAT(error_of(folder, header("a.jpg", "-1") + kEnd), Contains("size isn't a number"));
  CHECK_THAT(error_of(folder, header("a.jpg", "\x80" + std::string(11, '\x7f')) + kEnd),
             Contains("size is too large"));
  CHECK_THAT(error_of(folder, header("a.jpg", "77777777777") + kEnd), Contains("it is cut short"));
  CHECK_THAT(error_of(folder, header("x", "77777777777", 'x') + kEnd),
             Contains("more than the 1048576 that one may have"));
  CHECK_THAT(error_of(folder, header("x", "77777777777", 'L') + kEnd), Contains("more than"));
  CHECK_THAT(error_of(folder, pax("size", "-5") + member("a", "") + kEnd),
             Contains("size isn't one"));
  CHECK_THAT(error_of(folder, pax("size", "99999999999999999999") + member("a", "") + kEnd),
             Contains("size isn't one"));
  for (const char* damaged : {"x", "99 a=b\n", "6 a=bc\n", "7 a=b\n", "6 abc\n", "-1 a=b\n"}) {
    CAPTURE(damaged);
    CHECK_THAT(error_of(folder, member("x", damaged, 'x') + member("a", "") + kEnd),
               Contains("extended header is damaged"));
  }
  CHECK_THAT(error_of(folder, pax("GNU.sparse.major", "1") + member("a", "") + kEnd),
             Contains("sparse"));
  CHECK_THAT(error_of(folder, header("a", octal(0), 'S') + kEnd), Contains("sparse"));
  CHECK_THAT(error_of(folder, member("", "x") + kEnd), Contains("without a name"));
}

TEST_CASE("no damage of a byte reads too far or never ends", "[tar]") {
  const testing::TemporaryFolder folder;
  const std::string good = pax("path", "long.jpg") + member("a.jpg", std::string(700, 'a')) +
                           member("d", "", '5') + member("b.jpg", "b") + kEnd;
  const Philox random(5, RandomPurpose::kTest);
  int refused = 0;
  for (std::uint64_t i = 0; i < 400; ++i) {
    std::string bad = good;
    const std::size_t at = random.below(2 * i, std::uint32_t(good.size()));
    bad[at] = char(bad[at] ^ (1 + random.below(2 * i + 1, 255)));
    refused += !error_of(folder, bad).empty();
  }
  CHECK(refused > 100);
}

TEST_CASE("the images of an archive, and a range of them", "[tar]") {
  const testing::TemporaryFolder folder;
  const std::string path = (folder / "x.tar").string();
  const auto ppm = testing::encode_pnm(testing::picture(3, 5, 3));
  const std::string image(ppm.begin(), ppm.end());
  testing::write_text(path, member("0.ppm", image) + member("0.json", "{}") +
                                member("._1.ppm", "of macOS") + member("1.ppm", "broken") +
                                member("__MACOSX/2.ppm", "x") + member("./2.PPM", image) + kEnd);
  TarStream stream(path, {}, {.first = 1, .last = 3, .total = 3});
  StreamedImage one;
  Image pixels;
  REQUIRE(stream.next(one, kNeverStopped));
  CHECK(one.name == "1.ppm");
  CHECK(one.position == 1);
  CHECK_THROWS_AS(stream.load(one, pixels), ImageError);
  CHECK_THROWS_WITH(stream.load(one, pixels), Contains("x.tar: 1.ppm: "));
  REQUIRE(stream.next(one, kNeverStopped));
  CHECK(one.name == "./2.PPM");
  CHECK(one.id == 2);
  stream.load(one, pixels);
  CHECK(pixels.width == 5);
  CHECK(!stream.next(one, kNeverStopped));

  // One that no image can be: its bytes aren't read, let alone kept.
  std::string large = header("large.ppm", octal(kMaxImageFileBytes + 1));
  testing::write_text(path, large);
  std::filesystem::resize_file(path, kMaxImageFileBytes + 1024);
  TarStream huge(path, {});
  REQUIRE(huge.next(one, kNeverStopped));
  CHECK(one.bytes.empty());
  CHECK_THROWS_WITH(huge.load(one, pixels),
                    Contains("more than the 536870912 that an image may have"));
}

}  // namespace
}  // namespace hh::data

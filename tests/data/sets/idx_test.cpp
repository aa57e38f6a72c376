// SPDX-License-Identifier: Apache-2.0
#include "data/sets/idx.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>

#include "data/sets/gunzip.h"
#include "engine/files/file.h"
#include "tests/support/images.h"
#include "tests/support/temporary_folder.h"

namespace hh::data {
namespace {

using Catch::Contains;
using testing::as_text;
using testing::Bytes;
using testing::gzip;
using testing::idx_file;
using testing::TemporaryFolder;

TEST_CASE("idx files give their sizes and values", "[data][idx]") {
  const IdxArray array = parse_idx(idx_file({2, 3, 4}));
  REQUIRE(array.shape == std::vector<std::int64_t>{2, 3, 4});
  REQUIRE(array.values.size() == 24);
  REQUIRE(array.values[23] == 23);
  REQUIRE(parse_idx(idx_file({0})).values.empty());
}

TEST_CASE("idx: every cut and every wrong header is refused by name", "[data][idx]") {
  const Bytes good = idx_file({2, 3});
  for (std::size_t n = 0; n < good.size(); ++n) {
    REQUIRE_THROWS_AS(parse_idx(std::span(good).first(n)), std::runtime_error);
  }
  Bytes longer = good;
  longer.push_back(0);
  REQUIRE_THROWS_WITH(parse_idx(longer), Contains("declares 6 bytes of data, and it has 7"));

  const auto with = [&](std::size_t at, std::uint8_t value) {
    Bytes bytes = good;
    bytes[at] = value;
    return bytes;
  };
  REQUIRE_THROWS_WITH(parse_idx(with(0, 1)), Contains("isn't an idx file"));
  REQUIRE_THROWS_WITH(parse_idx(with(2, 0x0d)), Contains("type is 13"));
  REQUIRE_THROWS_WITH(parse_idx(with(3, 0)), Contains("0 axes"));
  REQUIRE_THROWS_WITH(parse_idx(with(3, 200)), Contains("200 axes"));
  // 2^32 - 1 in all four axes: the product would overflow 64 bits.
  Bytes hostile = {0, 0, 8, 4};
  hostile.insert(hostile.end(), 16, 0xff);
  REQUIRE_THROWS_WITH(parse_idx(hostile), Contains("more than"));
}

TEST_CASE("gunzip unpacks, and refuses damage and what would be too large", "[data][idx]") {
  Bytes plain(200'000);
  for (std::size_t i = 0; i < plain.size(); ++i) plain[i] = std::uint8_t(i * i / 7);
  const Bytes packed = gzip(plain);
  REQUIRE(gunzip(packed, plain.size()) == plain);
  REQUIRE(gunzip({1, 2, 3}, 10) == Bytes{1, 2, 3});
  REQUIRE_THROWS_WITH(gunzip(packed, plain.size() - 1), Contains("more than 199999 bytes"));
  for (const std::size_t n :
       {std::size_t{2}, std::size_t{9}, std::size_t{11}, packed.size() / 2, packed.size() - 1}) {
    REQUIRE_THROWS_WITH(gunzip(Bytes(packed.begin(), packed.begin() + std::ptrdiff_t(n)), 1 << 20),
                        Contains("truncated"));
  }
  Bytes damaged = packed;
  damaged[packed.size() - 6] ^= 1;  // of the check sum
  REQUIRE_THROWS_WITH(gunzip(damaged, 1 << 20), Contains("corrupt"));

  // A bomb: 64 MiB of zeros in 65 KB stop at the limit.
  const Bytes bomb = gzip(Bytes(std::size_t{64} << 20, 0));
  REQUIRE(bomb.size() < 70'000);
  REQUIRE_THROWS_WITH(gunzip(bomb, 1 << 20), Contains("more than 1048576 bytes"));
}

void write_set(const TemporaryFolder& folder, const std::string& part, const Bytes& images,
               const Bytes& labels, bool packed) {
  const std::string ending = packed ? ".gz" : "";
  const auto pack = [&](const Bytes& b) { return as_text(packed ? gzip(b) : b); };
  write_file_atomically(folder / (part + "-images-idx3-ubyte" + ending), pack(images));
  write_file_atomically(folder / (part + "-labels-idx1-ubyte" + ending), pack(labels));
}

TEST_CASE("a folder of idx files: training images first", "[data][idx]") {
  const TemporaryFolder folder;
  write_set(folder, "train", idx_file({12, 2, 3}), idx_file({12}, 10), true);
  write_set(folder, "t10k", idx_file({3, 2, 3}, 5), idx_file({3}, 10), false);
  const auto set = open_fashion_mnist(folder.path());
  REQUIRE(set->size() == 15);
  REQUIRE(set->classes() == 10);
  REQUIRE(set->class_names()[9] == "Ankle boot");
  REQUIRE(set->name(11) == "fashion-mnist#11");
  const Image image = set->load(11);
  REQUIRE(image.height == 2);
  REQUIRE(image.width == 3);
  REQUIRE(image.channels == 1);
  REQUIRE(image.pixels == Bytes{66, 67, 68, 69, 70, 71});
  REQUIRE(set->labels().first_class(11) == 1);
  REQUIRE(set->load(12).pixels == Bytes{0, 1, 2, 3, 4, 0});
  REQUIRE(set->labels().first_class(14) == 2);
  REQUIRE_THROWS_AS(set->load(15), std::invalid_argument);
  REQUIRE_THROWS_AS(set->load(-1), std::invalid_argument);
}

TEST_CASE("idx folders that don't fit together are refused", "[data][idx]") {
  const TemporaryFolder folder;
  const auto refuse = [&](const std::string& what) {
    REQUIRE_THROWS_WITH(open_fashion_mnist(folder.path()), Contains(what));
  };
  refuse("apt install dataset-fashion-mnist");
  const Bytes images = idx_file({4, 2, 2}), labels = idx_file({4}, 10);
  write_set(folder, "t10k", images, labels, false);
  write_set(folder, "train", images, idx_file({3}, 10), false);
  refuse("4 images but 3 labels");
  write_set(folder, "train", idx_file({11, 2, 2}), idx_file({11}, 11), false);
  refuse("a label is 10");
  write_set(folder, "train", idx_file({4, 2, 3}), labels, false);
  refuse("differ in size");
  write_set(folder, "train", labels, images, false);
  refuse("3 axes");
  write_set(folder, "train", idx_file({4, 0, 2}), labels, false);
  refuse("0 x 2");
  write_file_atomically(folder / "train-images-idx3-ubyte", "\x1f\x8bnonsense");
  refuse("train-images-idx3-ubyte: gzip");
}

}  // namespace
}  // namespace hh::data

// SPDX-License-Identifier: Apache-2.0
#include "data/sets/cifar.h"

#include <catch2/catch.hpp>
#include <string>

#include "engine/files/file.h"
#include "tests/support/images.h"
#include "tests/support/temporary_folder.h"

namespace hh::data {
namespace {

using Catch::Contains;
using testing::as_text;
using testing::Bytes;
using testing::TemporaryFolder;

/// Records whose bytes tell where they are: label (first + i) % 10, planes of r, g and b.
Bytes records(int count, int first) {
  Bytes bytes;
  for (int i = first; i < first + count; ++i) {
    bytes.push_back(std::uint8_t(i % 10));
    for (int p = 0; p < 1024; ++p) bytes.push_back(std::uint8_t(i));
    for (int p = 0; p < 1024; ++p) bytes.push_back(std::uint8_t(p / 32));  // the row
    for (int p = 0; p < 1024; ++p) bytes.push_back(std::uint8_t(p % 32));  // the column
  }
  return bytes;
}

TEST_CASE("CIFAR-10: the planes are interleaved, the test batch comes last", "[data][cifar]") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "cifar-10-batches-bin");
  for (int i = 0; i < 6; ++i) {
    const std::string name =
        i == 5 ? "test_batch.bin" : "data_batch_" + std::to_string(i + 1) + ".bin";
    write_file_atomically(folder / ("cifar-10-batches-bin/" + name), as_text(records(2, 2 * i)));
  }
  for (const auto& path : {folder.path(), folder / "cifar-10-batches-bin"}) {
    const auto set = open_cifar10(path);
    REQUIRE(set->size() == 12);
    REQUIRE(set->classes() == 10);
    REQUIRE(set->class_names().front() == "airplane");
    REQUIRE(set->labels().first_class(11) == 1);
    const Image image = set->load(11);
    REQUIRE(image.channels == 3);
    const std::size_t at = (7 * 32 + 5) * 3;  // row 7, column 5
    REQUIRE(Bytes(image.pixels.begin() + at, image.pixels.begin() + at + 3) == Bytes{11, 7, 5});
  }
  std::filesystem::remove(folder / "cifar-10-batches-bin/data_batch_3.bin");
  REQUIRE_THROWS_WITH(open_cifar10(folder.path()), Contains("data_batch_3.bin: it is missing"));
}

TEST_CASE("CIFAR-10: broken files are refused, and leave nothing behind", "[data][cifar]") {
  Bytes pixels, classes;
  const auto refuse = [&](const Bytes& bytes, const std::string& what) {
    REQUIRE_THROWS_WITH(parse_cifar10(bytes, pixels, classes), Contains(what));
    REQUIRE(pixels.empty());
    REQUIRE(classes.empty());
  };
  refuse({}, "0 bytes");
  Bytes bytes = records(3, 0);
  bytes.pop_back();
  refuse(bytes, "9218 bytes are no whole number of records of 3073");
  bytes = records(3, 0);
  bytes[2 * 3073] = 10;
  refuse(bytes, "record 2 has the label 10");
}

}  // namespace
}  // namespace hh::data

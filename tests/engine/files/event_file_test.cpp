// SPDX-License-Identifier: Apache-2.0
#include "engine/files/event_file.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cstring>

#include "engine/files/file.h"
#include "tests/support/temporary_folder.h"

namespace hh {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// RFC 3720, appendix B.4, and the usual check value.
TEST_CASE("crc32c agrees with published values", "[event_file]") {
  CHECK(crc32c(bytes_of("123456789")) == 0xe3069283u);
  CHECK(crc32c(bytes_of(std::string(32, '\0'))) == 0x8a9136aau);
  CHECK(crc32c(bytes_of(std::string(32, '\xff'))) == 0x62a8ab43u);
  CHECK(crc32c({}) == 0);
}

/// Walks the records of a file, checking both sums of each.
std::vector<std::string> records_of(const std::filesystem::path& path) {
  const std::vector<std::uint8_t> file = read_file(path, 1 << 20);
  std::string_view rest(reinterpret_cast<const char*>(file.data()), file.size());
  std::vector<std::string> records;
  while (!rest.empty()) {
    std::uint64_t length;
    std::uint32_t sum;
    REQUIRE(rest.size() >= 12);
    std::memcpy(&length, rest.data(), 8);
    std::memcpy(&sum, rest.data() + 8, 4);
    REQUIRE(sum == masked_crc32c(bytes_of(std::string(rest.substr(0, 8)))));
    REQUIRE(rest.size() >= 12 + length + 4);
    records.emplace_back(rest.substr(12, length));
    std::memcpy(&sum, rest.data() + 12 + length, 4);
    REQUIRE(sum == masked_crc32c(bytes_of(records.back())));
    rest.remove_prefix(12 + length + 4);
  }
  return records;
}

TEST_CASE("event file holds what was written, in records TensorBoard reads", "[event_file]") {
  const testing::TemporaryFolder folder;
  EventFile file(folder.path());
  CHECK_THAT(file.path().filename().string(), Catch::StartsWith("events.out.tfevents."));
  file.scalar("loss", 0.75, 300);
  file.flush();
  const std::vector<std::string> records = records_of(file.path());
  REQUIRE(records.size() == 2);
  // field 3 (bytes): file_version
  CHECK_THAT(records[0], Catch::EndsWith(std::string("\x1a\x0d") + "brain.Event:2"));
  // 1: wall time (8 bytes), 2: step as a varint, 5: Summary {1: Value {1: tag, 2: float}}
  std::string point = std::string("\x0a\x04") + "loss" + "\x15";
  const float value = 0.75f;
  point.append(reinterpret_cast<const char*>(&value), 4);
  const std::string step = "\x10\xac\x02";
  const std::string summary = std::string("\x0a") + char(point.size()) + point;
  CHECK(records[1].substr(9) == step + "\x2a" + char(summary.size()) + summary);
  CHECK(records[1][0] == '\x09');
  double time;
  std::memcpy(&time, records[1].data() + 1, 8);
  CHECK(time > 1.6e9);
}

TEST_CASE("a later event file takes back the points from a step on", "[event_file]") {
  const testing::TemporaryFolder folder;
  const EventFile first(folder.path());
  const EventFile second(folder.path(), 300), third(folder.path());
  // Within a second, and sorted all the same.
  CHECK(first.path() < second.path());
  CHECK(second.path() < third.path());
  const std::vector<std::string> records = records_of(second.path());
  REQUIRE(records.size() == 2);
  // 2: step 300, 7: SessionLog {1: START}
  CHECK(records[1].substr(9) == "\x10\xac\x02\x3a\x02\x08\x01");
  CHECK(records_of(third.path()).size() == 1);
}

TEST_CASE("event file says where it can't write", "[event_file]") {
  REQUIRE_THROWS_WITH(EventFile("/nowhere/at/all"), Catch::Contains("/nowhere/at/all"));
}

}  // namespace
}  // namespace hh

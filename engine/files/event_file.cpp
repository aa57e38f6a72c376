// SPDX-License-Identifier: Apache-2.0
#include "engine/files/event_file.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <chrono>
#include <stdexcept>

#include "engine/device/host_name.h"

namespace hh {
namespace {

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  constexpr std::uint32_t kReversedPolynomial = 0x82F63B78u;
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1u ? kReversedPolynomial : 0u);
    table[byte] = crc;
  }
  return table;
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

template <class T>
void append_little_endian(std::string& to, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) to += char(value >> (8 * i) & 0xff);
}

// The part of the protocol buffers encoding that an Event needs.
enum WireType : unsigned { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void append_varint(std::string& to, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) to += char((value & 0x7f) | 0x80);
  to += char(value);
}
void append_key(std::string& to, unsigned field, WireType type) {
  append_varint(to, field << 3 | type);
}
void append_bytes(std::string& to, unsigned field, std::string_view bytes) {
  append_key(to, field, kBytes);
  append_varint(to, bytes.size());
  to += bytes;
}

double now() {
  using namespace std::chrono;
  return duration<double>(system_clock::now().time_since_epoch()).count();
}

/// An Event up to its contents: 1 wall_time (double), 2 step (int64).
std::string event_header(std::int64_t step) {
  std::string event;
  append_key(event, 1, kFixed64);
  append_little_endian(event, std::bit_cast<std::uint64_t>(now()));
  append_key(event, 2, kVarint);
  append_varint(event, std::uint64_t(step));
  return event;
}

constexpr const char* kPrefix = "events.out.tfevents.";

/// The time in seconds, or one more than the latest in the folder: two starts may be within a
/// second, and clocks are set back.
std::int64_t time_of_name(const std::filesystem::path& folder) {
  auto time = std::int64_t(now());
  std::error_code ignored;  // what is wrong with the folder shows when the file is made
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kPrefix)) continue;
    const char* const digits = name.data() + std::string_view(kPrefix).size();
    std::int64_t other = 0;
    std::from_chars(digits, name.data() + name.size(), other);
    constexpr std::int64_t kMost = 9'999'999'999;  // as many digits as now: names sort as numbers
    if (other < kMost) time = std::max(time, other + 1);
  }
  return time;
}

}  // namespace

std::uint32_t crc32c(std::span<const std::byte> bytes) {
  static constexpr auto kTable = make_crc_table();
  std::uint32_t crc = ~0u;
  for (const std::byte b : bytes) crc = (crc >> 8) ^ kTable[(crc ^ std::uint32_t(b)) & 0xff];
  return ~crc;
}

std::uint32_t masked_crc32c(std::span<const std::byte> bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xa282ead8u;
}

EventFile::EventFile(const std::filesystem::path& folder, std::optional<std::int64_t> first_step) {
  path_ = folder / (kPrefix + std::to_string(time_of_name(folder)) + "." + host_name() + "." +
                    std::to_string(getpid()));
  file_.open(path_, std::ios::binary | std::ios::app);
  if (!file_) throw std::runtime_error(path_.string() + ": can't be written");
  std::string event = event_header(0);
  append_bytes(event, 3, "brain.Event:2");  // file_version, which the first event must carry
  write(event);
  if (first_step) {
    std::string start = event_header(*first_step);
    append_bytes(start, 7, std::string_view("\x08\x01", 2));  // session_log: status (1) is START
    write(start);
  }
  flush();
}

void EventFile::scalar(std::string_view tag, double value, std::int64_t step) {
  std::string point;  // Summary.Value: 1 tag, 2 simple_value (float)
  append_bytes(point, 1, tag);
  append_key(point, 2, kFixed32);
  append_little_endian(point, std::bit_cast<std::uint32_t>(float(value)));
  std::string summary;  // Summary: 1 repeated Value
  append_bytes(summary, 1, point);
  std::string event = event_header(step);
  append_bytes(event, 5, summary);
  write(event);
}

void EventFile::write(const std::string& event) {
  std::string record;
  append_little_endian(record, std::uint64_t{event.size()});
  append_little_endian(record, masked_crc32c(bytes_of(record)));
  record += event;
  append_little_endian(record, masked_crc32c(bytes_of(event)));
  file_.write(record.data(), std::streamsize(record.size()));
}

void EventFile::flush() {
  file_.flush();
  if (!file_) throw std::runtime_error(path_.string() + ": can't be written (is the disk full?)");
}

}  // namespace hh

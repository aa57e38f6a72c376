// SPDX-License-Identifier: Apache-2.0
#include "data/streams/tar_stream.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <span>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "data/sets/folder.h"
#include "engine/files/file_kind.h"
#include "engine/files/xxh64.h"

namespace hh::data {
namespace {

// Fields of a header: place and size.
constexpr std::size_t kName = 0, kNameSize = 100, kSize = 124, kSizeSize = 12, kChecksum = 148,
                      kChecksumSize = 8, kType = 156, kMagic = 257, kPrefix = 345,
                      kPrefixSize = 155;
constexpr std::int64_t kMaxExtended = std::int64_t{1} << 20;  // names and the like, bytes
constexpr std::int64_t kMaxMember = std::int64_t{1} << 50;
const std::atomic<bool> kNeverStopped = false;

template <class Block>
std::string_view text_of(const Block& block, std::size_t at, std::size_t size) {
  const std::string_view field(block.data() + at, size);
  return field.substr(0, std::min(field.find('\0'), size));
}

}  // namespace

TarReader::TarReader(const std::string& archive) : input_(archive) {}

void TarReader::fail(const std::string& what) const {
  throw std::runtime_error(input_.name() + ": byte " + std::to_string(header_) + ": " + what);
}

/// False when stopped. Throws where the archive ends before.
bool TarReader::read_all(char* to, std::size_t count, const std::atomic<bool>& stop) {
  while (count > 0) {
    const std::size_t got = input_.read(to, count, stop);
    if (got == 0) {
      if (stop) return false;
      if (place_ == 0) {
        throw std::runtime_error(input_.name() +
                                 ": it is empty, not a tar archive: did what "
                                 "writes it fail?");
      }
      fail(place_ == header_ ? "the archive ends here without the mark of its end: it is cut short"
                             : "the archive ends within this member, at byte " +
                                   std::to_string(place_) + ": it is cut short");
    }
    place_ += std::int64_t(got);
    to += got;
    count -= got;
  }
  return true;
}

bool TarReader::read_block(Block& block, const std::atomic<bool>& stop) {
  return read_all(block.data(), block.size(), stop);
}

bool TarReader::pass_over(std::int64_t bytes, const std::atomic<bool>& stop) {
  if (bytes == 0) return true;
  Block block;
  if (input_.is_regular()) {
    // Its last byte is read, so that a file that ends before is noticed.
    input_.skip(bytes - 1);
    place_ += bytes - 1;
    return read_all(block.data(), 1, stop);
  }
  while (bytes > 0) {
    const auto some = std::size_t(std::min(bytes, std::int64_t(kBlock)));
    if (!read_all(block.data(), some, stop)) return false;
    bytes -= std::int64_t(some);
  }
  return true;
}

std::int64_t TarReader::number(const Block& block, std::size_t at, std::size_t size,
                               const char* what) const {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(block[at + i]); };
  std::int64_t value = 0;
  if (byte(0) == 0x80) {  // GNU: base 256, most significant byte first
    for (std::size_t i = 1; i < size; ++i) {
      if (value > kMaxMember) break;
      value = value << 8 | byte(i);
    }
  } else {
    std::string_view digits(block.data() + at, size);
    digits = digits.substr(0, digits.find_last_not_of(std::string_view("\0 ", 2)) + 1);
    digits.remove_prefix(std::min(digits.find_first_not_of(' '), digits.size()));
    const auto [stop, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, 8);
    if (error != std::errc() || stop != digits.data() + digits.size() || value < 0) {
      fail(std::string("the header's ") + what + " isn't a number: the archive is damaged");
    }
  }
  if (value > kMaxMember) {
    fail(std::string("the header's ") + what + " is too large: the archive is damaged");
  }
  return value;
}

void TarReader::check_header(const Block& block) const {
  const bool ustar = std::string_view(block.data() + kMagic, 5) == "ustar";
  unsigned sum = 0;
  for (std::size_t i = 0; i < block.size(); ++i) {
    const bool own = i >= kChecksum && i < kChecksum + kChecksumSize;
    sum += own ? ' ' : static_cast<unsigned char>(block[i]);
  }
  if (!ustar && header_ == 0) {
    const std::string kind = kind_text(std::as_bytes(std::span(block)), "a tar archive");
    if (kind.empty()) {
      throw std::runtime_error(input_.name() +
                               ": it is no tar archive (ustar or pax): make one by tar -cf");
    }
    const bool cured = kind.find(": ") != std::string::npos;
    throw std::runtime_error(input_.name() + ": " + kind +
                             (cured ? "" : ": give an archive (a list of paths is a --list)"));
  }
  if (!ustar || std::int64_t(sum) != number(block, kChecksum, kChecksumSize, "check sum")) {
    fail("there should be a member's header, and its " +
         std::string(ustar ? "check sum is wrong" : "mark isn't there") +
         ": the archive is damaged");
  }
}

bool TarReader::read_text(std::int64_t bytes, std::string& text, const std::atomic<bool>& stop) {
  if (bytes > kMaxExtended) {
    fail("a name or an extended header of " + std::to_string(bytes) + " bytes, more than the " +
         std::to_string(kMaxExtended) + " that one may have");
  }
  text.resize(std::size_t(bytes));
  if (!read_all(text.data(), text.size(), stop)) return false;
  return pass_over((std::int64_t(kBlock) - bytes % std::int64_t(kBlock)) % std::int64_t(kBlock),
                   stop);
}

/// Records "LENGTH KEY=VALUE\n" of a pax header.
void TarReader::read_extended(const std::string& text, Extended& extended) const {
  std::string_view rest = text;
  while (!rest.empty()) {
    std::size_t length = 0;
    const auto [stop, error] = std::from_chars(rest.data(), rest.data() + rest.size(), length);
    const auto digits = std::size_t(stop - rest.data());
    if (error != std::errc() || length > rest.size() || length < digits + 3 ||
        rest[digits] != ' ' || rest[length - 1] != '\n') {
      fail("its extended header is damaged");
    }
    const std::string_view record = rest.substr(digits + 1, length - digits - 2);
    rest.remove_prefix(length);
    const std::size_t equals = record.find('=');
    if (equals == std::string_view::npos) fail("its extended header is damaged");
    const std::string_view key = record.substr(0, equals), value = record.substr(equals + 1);
    if (key == "path") extended.name = value;
    if (key == "size") {
      const auto [end, wrong] =
          std::from_chars(value.data(), value.data() + value.size(), extended.bytes);
      if (wrong != std::errc() || end != value.data() + value.size() || extended.bytes < 0 ||
          extended.bytes > kMaxMember) {
        fail("its extended header's size isn't one");
      }
    }
    if (key.starts_with("GNU.sparse.")) fail("it is a sparse file: pack it without --sparse");
  }
}

/// Behind the first block of zeros.
bool TarReader::finish(const std::atomic<bool>& stop) {
  Block block;
  if (!read_block(block, stop)) return false;
  if (std::any_of(block.begin(), block.end(), [](char c) { return c != 0; })) {
    fail("a block of zeros stands where a member's header should: the archive is damaged");
  }
  ended_ = true;
  return read_record(stop);
}

/// Up to where tar ends what it writes, so that a tar that writes into our pipe isn't ended by a
/// signal. False when stopped.
bool TarReader::read_record(const std::atomic<bool>& stop) {
  constexpr std::int64_t kRecord = 20 * std::int64_t(kBlock);
  Block block;
  while (!input_.is_regular() && place_ % kRecord != 0) {
    const auto room = std::size_t(std::min(kRecord - place_ % kRecord, std::int64_t(kBlock)));
    const std::size_t got = input_.read(block.data(), room, stop);
    if (got == 0) return !stop;
    place_ += std::int64_t(got);
  }
  return true;
}

bool TarReader::next(Member& member, const std::atomic<bool>& stop) {
  Extended extended;
  while (!ended_) {
    if (!pass_over(left_, stop)) return false;
    left_ = 0;
    header_ = place_;
    Block block;
    if (!read_block(block, stop)) return false;
    if (std::all_of(block.begin(), block.end(), [](char c) { return c == 0; })) {
      if (!finish(stop)) return false;
      break;
    }
    check_header(block);
    const char type = block[kType];
    const bool link = type >= '1' && type <= '6';  // links, devices, folders: nothing follows
    std::int64_t bytes = link ? 0 : number(block, kSize, kSizeSize, "size");
    if (type == 'x' || type == 'L') {
      std::string text;
      if (!read_text(bytes, text, stop)) return false;
      if (type == 'L') {
        extended.name = text.substr(0, text.find('\0'));
      } else {
        read_extended(text, extended);
      }
      continue;
    }
    if (type == 'S') fail("it is a sparse file: pack it without --sparse");
    if (!link && extended.bytes >= 0) bytes = extended.bytes;
    left_ = (bytes + std::int64_t(kBlock) - 1) / std::int64_t(kBlock) * std::int64_t(kBlock);
    if (type == 'g' || type == 'K') continue;  // of all members; of a link
    const bool regular = type == '0' || type == '\0' || type == '7';
    if (regular) {
      member.name = extended.name;
      if (member.name.empty()) {
        // In GNU's own format other things stand in the prefix's place.
        const bool posix = block[kMagic + 5] == '\0';
        const auto prefix = posix ? text_of(block, kPrefix, kPrefixSize) : std::string_view();
        member.name = (prefix.empty() ? "" : std::string(prefix) + "/") +
                      std::string(text_of(block, kName, kNameSize));
      }
      if (member.name.empty()) fail("a file without a name: the archive is damaged");
      if (member.name.find('\0') != std::string::npos) {
        fail("a name with a zero byte in it: the archive is damaged");
      }
      member.bytes = bytes;
      member.place = header_;
      return true;
    }
    extended = {};
  }
  return false;
}

bool TarReader::read(const Member& member, std::vector<std::uint8_t>& bytes,
                     const std::atomic<bool>& stop) {
  bytes.clear();
  constexpr std::int64_t kStep = std::int64_t{1} << 20;
  while (std::int64_t(bytes.size()) < member.bytes) {
    const std::size_t done = bytes.size();
    const auto some = std::size_t(std::min(member.bytes - std::int64_t(done), kStep));
    bytes.resize(done + some);
    if (!read_all(reinterpret_cast<char*>(bytes.data()) + done, some, stop)) return false;
    left_ -= std::int64_t(some);
  }
  return true;
}

TarStream::TarStream(const std::string& archive, const DecodeOptions& decode, StreamRange range)
    : ImageStream(range), reader_(archive), decode_(decode) {}

bool TarStream::next(StreamedImage& image, const std::atomic<bool>& stop) {
  TarReader::Member member;
  while (next_ != range().last && range().first != range().last) {
    if (!reader_.next(member, stop)) {
      if (stop || range().last < 0) return false;
      throw std::runtime_error(reader_.input().name() + ": it has only " + std::to_string(next_) +
                               " images, and had " + std::to_string(range().total) +
                               " a moment ago: leave the archive alone while it is encoded");
    }
    if (!is_image_path(member.name) || next_++ < range().first) continue;
    image.position = image.id = next_ - 1;
    image.name = member.name;
    image.location = reader_.input().name() + ": " + member.name;
    image.labels.clear();
    image.bytes.clear();
    image.error.clear();
    if (member.bytes <= std::int64_t(kMaxImageFileBytes)) {
      return reader_.read(member, image.bytes, stop);
    }
    image.error = std::to_string(member.bytes) + " bytes, more than the " +
                  std::to_string(kMaxImageFileBytes) + " that an image may have";
    return true;
  }
  return false;
}

void TarStream::load(const StreamedImage& image, Image& pixels) const {
  try {
    if (!image.error.empty()) throw ImageError(image.error);
    pixels = decode_image(image.bytes, decode_);
  } catch (const ImageError& error) {
    throw ImageError(image.location + ": " + error.what());
  }
}

TarFacts tar_facts(const std::string& archive) {
  TarReader reader(archive);
  reader.input().require_regular("archive");
  TarFacts facts;
  Xxh64 sum;
  for (TarReader::Member member; reader.next(member, kNeverStopped);) {
    if (!is_image_path(member.name)) continue;
    ++facts.images;
    std::string text = member.name;
    text.push_back('\0');
    text += std::to_string(member.bytes);
    text.push_back('\0');
    sum.update(text);
  }
  facts.xxh64 = sum.value();
  return facts;
}

}  // namespace hh::data

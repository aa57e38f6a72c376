// SPDX-License-Identifier: Apache-2.0
#include "data/streams/line_stream.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "data/sets/list_file.h"
#include "engine/files/xxh64.h"
#include "kernels/core/check.h"

namespace hh::data {
namespace {

constexpr std::size_t kBuffer = std::size_t{1} << 18;
static_assert(kBuffer >= 2 * LineReader::kMaxLine);
const std::atomic<bool> kNeverStopped = false;

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

}  // namespace

LineReader::LineReader(const std::string& list, bool null)
    : input_(list), null_(null), buffer_(kBuffer) {}

void LineReader::fail(const std::string& what) const {
  throw std::runtime_error(input_.name() + ":" + std::to_string(number_) + ": " + what);
}

/// More bytes behind those that wait; false where there are none.
bool LineReader::fill(const std::atomic<bool>& stop) {
  if (ended_) return false;
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  const bool first = number_ == 0 && end_ == 0;
  const std::size_t got = input_.read(buffer_.data() + end_, buffer_.size() - end_, stop);
  if (got == 0) ended_ = true;
  end_ += got;
  if (first && !null_) refuse_utf16({buffer_.data(), end_}, input_.name());
  return got > 0;
}

bool LineReader::next(std::string_view& line, const std::atomic<bool>& stop) {
  const char separator = null_ ? '\0' : '\n';
  std::size_t searched = 0;
  for (;;) {
    const char* const start = buffer_.data() + begin_;
    const auto* found = static_cast<const char*>(
        std::memchr(start + searched, separator, end_ - begin_ - searched));
    if (found == nullptr) {
      searched = end_ - begin_;
      if (searched > kMaxLine) {
        ++number_;
        fail("the line is longer than " + std::to_string(kMaxLine) +
             " bytes: this is no list of paths" + (null_ ? " that end in zero bytes" : ""));
      }
      if (fill(stop)) continue;
      if (stop || begin_ == end_) return false;
    }
    const std::size_t length = found != nullptr ? std::size_t(found - start) : end_ - begin_;
    line = {buffer_.data() + begin_, length};
    begin_ = std::min(begin_ + length + 1, end_);
    searched = 0;
    ++number_;
    if (line.size() > kMaxLine) {
      fail("the line has " + std::to_string(line.size()) + " bytes: paths have up to " +
           std::to_string(kMaxLine));
    }
    if (null_) {
      if (line.empty()) continue;
      if (number_ == 1 && found == nullptr && line.find('\n') != std::string_view::npos) {
        fail("it has lines and no zero byte: leave --null out, which is for paths that end in one");
      }
      return true;
    }
    if (number_ == 1 && line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (is_blank(line)) continue;
    if (line.find('\0') != std::string_view::npos) {
      fail("it holds a zero byte: say --null for paths that end in one, or save the list as UTF-8");
    }
    return true;
  }
}

LineStream::LineStream(const std::string& list, const Options& options, StreamRange range)
    : ImageStream(range), reader_(list, options.null), options_(options) {
  HH_PRECONDITION(range.first >= 0 && (range.last < 0 || range.last >= range.first),
                  "stream: lines " << range.first << " to " << range.last);
}

bool LineStream::next(StreamedImage& image, const std::atomic<bool>& stop) {
  if (next_ == range().last || range().first == range().last) return false;
  std::string_view line;
  do {
    if (!reader_.next(line, stop)) {
      if (stop || range().last < 0) return false;
      throw std::runtime_error(reader_.input().name() + ": it has only " + std::to_string(next_) +
                               " paths, and had " + std::to_string(range().total) +
                               " a moment ago: leave the list alone while it is encoded");
    }
    if (next_ == 0 && options_.refuse_labels && has_labels(line)) {
      throw std::runtime_error(
          reader_.input().name() + ":" + std::to_string(reader_.number()) +
          ": numbers stand behind the path: say what they are by --list-labels columns or class, "
          "or none where they belong to the path");
    }
  } while (next_++ < range().first);
  image.position = image.id = next_ - 1;
  image.name = line;
  image.line = reader_.number();
  image.location =
      reader_.input().name() + ":" + std::to_string(reader_.number()) + ": " + image.name;
  image.labels.clear();
  return true;
}

void LineStream::load(const StreamedImage& image, Image& pixels) const {
  pixels = load_image(options_.image_root / image.name, options_.decode);
}

ListFacts list_facts(const std::string& list, bool null) {
  LineReader reader(list, null);
  reader.input().require_regular("list");
  ListFacts facts;
  Xxh64 sum;
  // Gathered, since the sum of many short pieces costs more than the copy.
  constexpr std::size_t kPiece = std::size_t{1} << 15;
  std::string piece;
  for (std::string_view line; reader.next(line, kNeverStopped);) {
    ++facts.lines;
    piece.append(line).push_back('\0');
    if (piece.size() < kPiece) continue;
    sum.update(piece);
    piece.clear();
  }
  sum.update(piece);
  facts.xxh64 = sum.value();
  return facts;
}

std::string first_line(const std::string& list) {
  // A pipe isn't even opened: whoever writes to it would lose its reader.
  std::error_code ignored;
  if (list == kStdin || !std::filesystem::is_regular_file(list, ignored)) return "";
  LineReader reader(list, false);
  std::string_view line;
  return reader.next(line, kNeverStopped) ? std::string(line) : "";
}

}  // namespace hh::data

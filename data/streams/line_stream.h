// SPDX-License-Identifier: Apache-2.0
// Images by a list of paths alone, a line each, from a file or a pipe. A path is the line as it stands,
// blanks and quotes included; CR before the line's end, a byte order mark and lines of nothing but
// blanks are passed over. With --null paths end in a zero byte instead, and hold everything else.
#pragma once
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/images/decode.h"
#include "data/streams/image_stream.h"
#include "data/streams/input.h"

namespace hh::data {

/// The lines of a list that name an image, one after another.
class LineReader {
 public:
  /// `list` is a file or "-". Throws std::runtime_error, TryAgain.
  LineReader(const std::string& list, bool null);

  /// False at the end, or when `stop` is set while it waits. `line` is valid until the next call.
  /// Throws std::runtime_error with name and number: UTF-16, a zero byte without `null`, a line
  /// longer than kMaxLine; and TryAgain.
  bool next(std::string_view& line, const std::atomic<bool>& stop);
  /// Of the line that was given last, 1-based, empty ones counted.
  std::int64_t number() const { return number_; }
  const Input& input() const { return input_; }

  static constexpr std::size_t kMaxLine = std::size_t{1} << 16;

 private:
  bool fill(const std::atomic<bool>& stop);
  [[noreturn]] void fail(const std::string& what) const;

  Input input_;
  bool null_, ended_ = false;
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;  // of what was read and not given
  std::int64_t number_ = 0;
};

class LineStream final : public ImageStream {
 public:
  struct Options {
    bool null = false;
    /// Refuse a list whose first line ends in numbers behind the path: they may be labels.
    bool refuse_labels = false;
    std::filesystem::path image_root;  // where relative paths start; empty: the working directory
    DecodeOptions decode;
  };
  LineStream(const std::string& list, const Options& options, StreamRange range = {});
  bool next(StreamedImage& image, const std::atomic<bool>& stop) override;
  void load(const StreamedImage& image, Image& pixels) const override;

 private:
  LineReader reader_;
  Options options_;
  std::int64_t next_ = 0;
};

/// What a list is, told by reading it once.
struct ListFacts {
  std::int64_t lines = 0;  // that name an image
  std::uint64_t xxh64 =
      0;  // of them, each with a zero byte behind it: the same with and without --null
};

/// Throws as LineReader does, and where the list isn't a regular file: a pipe can't be read twice.
ListFacts list_facts(const std::string& list, bool null);

/// The first line of a list file that names an image; empty if there is none, or if the list is a pipe.
std::string first_line(const std::string& list);

}  // namespace hh::data

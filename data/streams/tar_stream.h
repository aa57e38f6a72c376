// SPDX-License-Identifier: Apache-2.0
// The images of a tar archive, from a file or a pipe, without unpacking it: ustar (POSIX.1-1988), pax
// (POSIX.1-2001) and GNU's long names. Members are taken by their names, as folders' files are
// (is_image_path); folders, links, devices and other files are passed over.
//
// Nothing in an archive is trusted: every header has its check sum, the end its mark, and lengths are
// believed only as far as bytes come. Sparse members are refused. A reader of our own, since the
// format is 512-byte blocks of ASCII fields and libarchive would bring a dozen libraries with it.
// Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block"; GNU tar's manual,
// "Basic Tar Format".
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "data/images/decode.h"
#include "data/streams/image_stream.h"
#include "data/streams/input.h"

namespace hh::data {

/// The members of an archive that are regular files, one after another.
class TarReader {
 public:
  /// `archive` is a file or "-". Throws std::runtime_error, TryAgain.
  explicit TarReader(const std::string& archive);

  struct Member {
    std::string name;
    std::int64_t bytes = 0;
    std::int64_t place = 0;  // of its header, bytes from the archive's begin
  };
  /// False at the end, or when `stop` is set while it waits. What was not read of the member before
  /// is passed over. Throws std::runtime_error with the archive's name and the place: no archive, a
  /// damaged header, an end without its mark.
  bool next(Member& member, const std::atomic<bool>& stop);
  /// All bytes of the member that next() gave; memory grows only as they come. False: stopped.
  bool read(const Member& member, std::vector<std::uint8_t>& bytes, const std::atomic<bool>& stop);
  const Input& input() const { return input_; }

 private:
  static constexpr std::size_t kBlock = 512;
  using Block = std::array<char, kBlock>;
  struct Extended {  // of the next member, by what stands before it
    std::string name;
    std::int64_t bytes = -1;
  };

  bool read_block(Block& block, const std::atomic<bool>& stop);
  bool read_all(char* to, std::size_t count, const std::atomic<bool>& stop);
  bool pass_over(std::int64_t bytes, const std::atomic<bool>& stop);
  bool finish(const std::atomic<bool>& stop);
  bool read_record(const std::atomic<bool>& stop);
  bool read_text(std::int64_t bytes, std::string& text, const std::atomic<bool>& stop);
  void read_extended(const std::string& text, Extended& extended) const;
  std::int64_t number(const Block& block, std::size_t at, std::size_t size, const char* what) const;
  void check_header(const Block& block) const;
  [[noreturn]] void fail(const std::string& what) const;

  Input input_;
  std::int64_t place_ = 0;   // of the bytes that come next
  std::int64_t header_ = 0;  // of the member's header
  std::int64_t left_ = 0;    // of the member, its padding included
  bool ended_ = false;
};

class TarStream final : public ImageStream {
 public:
  TarStream(const std::string& archive, const DecodeOptions& decode, StreamRange range = {});
  bool next(StreamedImage& image, const std::atomic<bool>& stop) override;
  void load(const StreamedImage& image, Image& pixels) const override;

 private:
  TarReader reader_;
  DecodeOptions decode_;
  std::int64_t next_ = 0;
};

/// What an archive holds, told by its headers alone.
struct TarFacts {
  std::int64_t images = 0;
  std::uint64_t xxh64 = 0;  // of each image's name, a zero byte, its size, a zero byte
};

/// Throws as TarReader does, and where the archive isn't a regular file.
TarFacts tar_facts(const std::string& archive);

}  // namespace hh::data

// SPDX-License-Identifier: Apache-2.0
// Trailers of chunked bodies (RFC 9112, 7.1.2), which the HTTP library takes for a broken end.
#pragma once
#include <cstddef>
#include <cstdint>

namespace hh::apps {

/// Bytes of a head, or of all trailers, and of a line of them.
inline constexpr std::size_t kMaxHead = std::size_t{64} << 10, kMaxLine = std::size_t{8} << 10;

/// Watches the bytes of a chunked body go by and takes the trailers out.
class TrailerFilter {
 public:
  /// The next bytes of the body. Keeps in `data`, in order, those that aren't of trailers, and
  /// returns how many. What follows the body, and all of one that isn't chunked as it should be,
  /// stays as it is: to refuse it is the library's part.
  std::size_t filter(char* data, std::size_t count);
  /// A chunk's line doesn't begin with its size, which the library would take for a huge one.
  bool broken() const { return broken_; }
  /// The trailers, or a line of them, are longer than a head may be.
  bool too_long() const { return too_long_; }

 private:
  enum class At { kSize, kExtension, kData, kDataEnd, kTrailer, kAfter };
  bool keep(char c);
  void read_size(char c);

  At at_ = At::kSize;
  std::uint64_t left_ = 0;   // bytes of the chunk
  int digits_ = 0;           // of its size
  std::size_t in_line_ = 0;  // bytes of the line of a trailer
  std::size_t trailers_ = 0;
  bool broken_ = false, too_long_ = false;
};

}  // namespace hh::apps

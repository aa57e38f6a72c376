// SPDX-License-Identifier: Apache-2.0
// Trailers of chunked bodies (RFC 9112, 7.1.2), which the HTTP library takes for a broken end.
#pragma once
#include <cstddef>
#include <cstdint>

namespace hh::apps {

/// Watches the bytes of a chunked body go by and takes the trailers out.
class TrailerFilter {
 public:
  /// The next bytes of the body. Keeps in `data`, in order, those that aren't of trailers, and
  /// returns how many. What follows the body, and all of one that isn't chunked as it should be,
  /// stays as it is: to refuse it is the library's part.
  std::size_t filter(char* data, std::size_t count);

 private:
  enum class At { kSize, kExtension, kData, kDataEnd, kTrailer, kAfter };
  bool keep(char c);

  At at_ = At::kSize;
  std::uint64_t left_ = 0;   // bytes of the chunk
  std::size_t in_line_ = 0;  // bytes of the line of a trailer
};

}  // namespace hh::apps

// SPDX-License-Identifier: Apache-2.0
#include "data/sets/gunzip.h"

#include <zlib.h>

#include <algorithm>
#include <new>
#include <stdexcept>
#include <string>

namespace hh::data {

std::vector<std::uint8_t> gunzip(std::vector<std::uint8_t> bytes, std::size_t max_bytes) {
  if (bytes.size() < 2 || bytes[0] != 0x1f || bytes[1] != 0x8b) return bytes;
  z_stream stream = {};
  constexpr int kGzip = 16 + 15;  // zlib's window bits: gzip wrapper, 32 KiB
  if (inflateInit2(&stream, kGzip) != Z_OK) throw std::bad_alloc();
  struct End {
    z_stream* s;
    ~End() { inflateEnd(s); }
  } end{&stream};

  std::vector<std::uint8_t> out;
  std::size_t used = 0, consumed = 0;
  int state = Z_OK;
  while (state != Z_STREAM_END) {
    if (used == out.size()) {
      // One byte over the limit, so that "exactly at the limit" and "over it" can be told apart.
      const std::size_t limit = max_bytes + 1;
      if (used == limit) break;
      out.resize(std::min(limit, std::max(2 * out.size(), std::size_t{1} << 16)));
    }
    if (stream.avail_in == 0 && consumed < bytes.size()) {
      const std::size_t n = std::min(bytes.size() - consumed, std::size_t{1} << 30);
      stream.next_in = bytes.data() + consumed;
      stream.avail_in = uInt(n);
      consumed += n;
    }
    const auto room = uInt(std::min(out.size() - used, std::size_t{1} << 30));
    stream.next_out = out.data() + used;
    stream.avail_out = room;
    state = inflate(&stream, Z_NO_FLUSH);
    used += room - stream.avail_out;
    if (state == Z_BUF_ERROR)
      throw std::runtime_error("gzip: the data is truncated: fetch the file again");
    if (state != Z_OK && state != Z_STREAM_END) {
      throw std::runtime_error(std::string("gzip: the data is corrupt: ") +
                               (stream.msg ? stream.msg : "no reason given") +
                               ": fetch the file again");
    }
  }
  if (used > max_bytes) {
    throw std::runtime_error("gzip: it unpacks to more than " + std::to_string(max_bytes) +
                             " bytes");
  }
  out.resize(used);
  return out;
}

}  // namespace hh::data

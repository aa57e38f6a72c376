// SPDX-License-Identifier: Apache-2.0
// A file of decoded pictures whose table may be anything: its place and its sum are put right, since no
// fuzzer finds a sum.
#include <cstring>
#include <vector>

#include "data/cache/picture_cache.h"
#include "engine/files/xxh64.h"
#include "tests/fuzz/fuzz.h"

namespace {

void put(std::vector<std::byte>& file, std::size_t at, std::uint64_t value) {
  std::memcpy(&file[at], &value, sizeof value);
}

/// Opens it, and looks at all pictures.
void use(std::span<const std::byte> file) {
  try {
    const auto cache = hh::data::PictureCache::parse(file, "input");
    std::size_t sum = 0;
    std::vector<std::uint8_t> pixels;
    for (std::int64_t i = 0; i < cache.size(); ++i) {
      hh::fuzz::require(cache.find(cache.name(i)) <= i);
      if (!cache.read_pixels(i, pixels)) continue;
      for (const std::uint8_t pixel : pixels) sum += pixel;
    }
    hh::fuzz::require(sum <= 255 * file.size() * std::size_t(cache.size() + 1));
  } catch (const std::runtime_error&) {
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  use(bytes);
  constexpr std::size_t kHead = 16, kTail = 32;
  if (size < kHead + kTail) return 0;
  std::vector<std::byte> file(bytes.begin(), bytes.end());
  const std::size_t end = size - kTail;
  std::uint64_t begin = 0;
  std::memcpy(&begin, &file[end], sizeof begin);
  if (begin < kHead || begin > end) return 0;
  put(file, end + 8, end - begin);
  put(file, end + 16, hh::xxh64(std::span(file).subspan(begin, end - begin)));
  use(file);
  return 0;
}

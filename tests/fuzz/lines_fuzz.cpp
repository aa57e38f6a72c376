// SPDX-License-Identifier: Apache-2.0
#include "data/streams/line_stream.h"
#include "tests/fuzz/memory_file.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::atomic<bool> never = false;
  const std::string path = hh::fuzz::memory_file(data, size);
  for (const bool null : {false, true}) {
    try {
      hh::data::LineReader reader(path, null);
      std::size_t bytes = 0;
      for (std::string_view line; reader.next(line, never);) {
        hh::fuzz::require(!line.empty() && line.size() <= hh::data::LineReader::kMaxLine);
        hh::fuzz::require(line.find(null ? '\0' : '\n') == std::string_view::npos);
        bytes += line.size();
      }
      hh::fuzz::require(bytes <= size);
    } catch (const std::runtime_error&) {
    }
  }
  return 0;
}

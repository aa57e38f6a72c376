// SPDX-License-Identifier: Apache-2.0
#include "data/streams/tar_stream.h"
#include "tests/fuzz/memory_file.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::atomic<bool> never = false;
  const std::string path = hh::fuzz::memory_file(data, size);
  for (const bool reads : {false, true}) {  // what isn't read is passed over by seeking
    try {
      hh::data::TarReader reader(path);
      std::vector<std::uint8_t> bytes;
      for (hh::data::TarReader::Member member; reader.next(member, never);) {
        hh::fuzz::require(!member.name.empty() && member.bytes >= 0);
        hh::fuzz::require(member.place >= 0 && std::size_t(member.place) < size);
        if (!reads) continue;
        hh::fuzz::require(reader.read(member, bytes, never));
        hh::fuzz::require(std::int64_t(bytes.size()) == member.bytes && bytes.size() < size);
      }
    } catch (const std::runtime_error&) {
    }
  }
  return 0;
}

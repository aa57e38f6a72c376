// SPDX-License-Identifier: Apache-2.0
// An index of four codes of 16 bits, ids 10 to 13, in a folder of its own.
#pragma once
#include <filesystem>

#include "retrieval/index/index.h"
#include "tests/support/temporary_folder.h"

namespace hh::testing {

class SmallIndex {
 public:
  SmallIndex() {
    retrieval::ItemSet items;
    const std::vector<std::uint8_t> bytes{0x01, 0x82, 0x01, 0x83, 0xff, 0xff, 0x01, 0x82};
    items.set.codes = retrieval::PackedCodes::from_bytes(bytes, 4, 16);
    items.set.ids = {10, 11, 12, 13};
    retrieval::build_index(path(), items);
  }
  std::filesystem::path path() const { return folder_ / "x"; }

 private:
  TemporaryFolder folder_;
};

}  // namespace hh::testing

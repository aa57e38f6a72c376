// SPDX-License-Identifier: Apache-2.0
#include "retrieval/files/item_files.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hh::retrieval;
  ItemSet items;
  try {
    items = parse_csv(std::string(hh::fuzz::text({data, size})), "input");
  } catch (const std::runtime_error&) {
    return 0;
  }
  items.set.validate();
  // What was understood is understood again.
  const ItemSet again = parse_csv(csv_header() + to_csv(items, 0, items.set.count()), "again");
  hh::fuzz::require(again.set.codes.to_bytes() == items.set.codes.to_bytes());
  hh::fuzz::require(again.set.ids == items.set.ids && again.set.labels == items.set.labels);
  hh::fuzz::require(again.set.names == items.set.names && again.metadata == items.metadata);
  return 0;
}

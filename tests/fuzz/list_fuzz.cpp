// SPDX-License-Identifier: Apache-2.0
#include "data/sets/list_file.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using hh::data::ListLabels;
  for (const ListLabels labels : {ListLabels::kColumns, ListLabels::kClass}) {
    try {
      const auto list = hh::data::parse_list(hh::fuzz::text({data, size}), "list.txt", labels);
      hh::fuzz::require(!list.paths.empty() && list.columns >= 1);
      hh::fuzz::require(list.lines.size() == list.paths.size());
      hh::fuzz::require(list.labels.size() == list.paths.size() * std::size_t(list.columns));
      hh::data::open_lists({list}, "", {});
    } catch (const std::runtime_error&) {
    }
  }
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "retrieval/engines/collection.h"

namespace hh::retrieval {

CollectionItem item_of_row(const Index& index, std::int64_t row) {
  IndexItem found = index.item(row);
  CollectionItem item{.id = found.id, .code = {}, .description = std::move(found.description)};
  item.code.append(index.codes().slice(row, row + 1));
  return item;
}

}  // namespace hh::retrieval

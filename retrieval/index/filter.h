// SPDX-License-Identifier: Apache-2.0
// Conditions on the items of an index, as users write them:
//   label=dog  label=3  label=dog,cat (either)  label!=dog     by class name or number
//   path=a/b.jpg  path~holiday/* (a glob: * ? [...])  path!=a/b.jpg
//   id=7  id>=100                                               = != < <= > >=
//   camera=X100  shot.year>=2020                                members of the metadata
// Blanks around field and value don't count. An item that lacks what is asked for fits != and
// nothing else; a member that no item has is refused (Index::select), as it is a slip.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace hh::retrieval {

struct IndexFilter {
  std::string text;  // as it was written, for errors
  std::string field, op, value;
  std::int64_t id = 0;              // the value, where the field is id
  std::vector<std::string> labels;  // the value's, where the field is label

  /// Throws std::invalid_argument when there is no operator or no field, or the id isn't a number.
  static IndexFilter parse(const std::string& text);
};

}  // namespace hh::retrieval

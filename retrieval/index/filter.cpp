// SPDX-License-Identifier: Apache-2.0
#include "retrieval/index/filter.h"

#include <array>

#include "kernels/core/check.h"

namespace hh::retrieval {
namespace {

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

}  // namespace

IndexFilter IndexFilter::parse(const std::string& text) {
  const std::size_t at = text.find_first_of("=!<>~");
  HH_REQUIRE(
      at != std::string::npos && !trimmed(text.substr(0, at)).empty(),
      "filter '" << text << "': write it as label=dog, path~holiday/*, id>=100 or year<2020");
  constexpr std::array kOperators{"!=", "<=", ">=", "=", "<", ">", "~"};  // the longer ones first
  for (const std::string op : kOperators) {
    if (text.compare(at, op.size(), op) != 0) continue;
    IndexFilter filter{trimmed(text.substr(0, at)), op, trimmed(text.substr(at + op.size()))};
    HH_REQUIRE(op != "~" || filter.field == "path",
               "filter '" << text << "': ~ is for paths only, as path~holiday/*; use = here");
    HH_REQUIRE(
        op == "=" || op == "!=" || op == "~" || (filter.field != "path" && filter.field != "label"),
        "filter '" << text << "': a " << filter.field << " can't be " << op << "; use = or !=");
    return filter;
  }
  HH_REQUIRE(false, "filter '" << text << "': operators are = != < <= > >= ~");
}

}  // namespace hh::retrieval

// SPDX-License-Identifier: Apache-2.0
#include "retrieval/index/filter.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "kernels/core/check.h"

namespace hh::retrieval {
namespace {

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::int64_t id_of(const IndexFilter& filter) {
  std::int64_t id = 0;
  const char* const end = filter.value.data() + filter.value.size();
  const auto [stop, error] = std::from_chars(filter.value.data(), end, id);
  HH_REQUIRE(error == std::errc() && stop == end, "filter '"
                                                      << filter.text << "': '" << filter.value
                                                      << "' isn't a number; write it as id>=100");
  return id;
}

std::vector<std::string> split(const std::string& value) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= value.size();) {
    const std::size_t comma = std::min(value.find(',', at), value.size());
    parts.push_back(value.substr(at, comma - at));
    at = comma + 1;
  }
  return parts;
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
    IndexFilter filter{.text = text,
                       .field = trimmed(text.substr(0, at)),
                       .op = op,
                       .value = trimmed(text.substr(at + op.size()))};
    HH_REQUIRE(op != "~" || filter.field == "path",
               "filter '" << text << "': ~ is for paths only, as path~holiday/*; use = here");
    HH_REQUIRE(
        op == "=" || op == "!=" || op == "~" || (filter.field != "path" && filter.field != "label"),
        "filter '" << text << "': a " << filter.field << " can't be " << op << "; use = or !=");
    if (filter.field == "id") filter.id = id_of(filter);
    if (filter.field == "label") filter.labels = split(filter.value);
    return filter;
  }
  HH_REQUIRE(false, "filter '" << text << "': operators are = != < <= > >= ~");
}

}  // namespace hh::retrieval

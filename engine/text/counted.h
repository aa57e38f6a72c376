// SPDX-License-Identifier: Apache-2.0
// Numbers with their nouns: "1 query", "0 queries".
#pragma once
#include <concepts>
#include <string>

namespace hh {

std::string counted(std::integral auto n, const std::string& one, const std::string& many) {
  return std::to_string(n) + " " + (n == 1 ? one : many);
}
/// Where the plural takes an s.
std::string counted(std::integral auto n, const std::string& one) {
  return counted(n, one, one + "s");
}

}  // namespace hh

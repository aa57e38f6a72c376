// SPDX-License-Identifier: Apache-2.0
#include "kernels/hamming/scan.h"

#include <cpuid.h>

#include <cstring>

namespace hh::cpu {
namespace {

/// By CPUID, asked once: in a virtual machine it takes as long as many rows.
bool is_amd() {
  static const bool is = [] {
    unsigned a = 0, name[3] = {};
    return __get_cpuid(0, &a, &name[0], &name[2], &name[1]) != 0 &&
           std::memcmp(name, "AuthenticAMD", sizeof name) == 0;
  }();
  return is;
}

std::optional<bool> forced;

}  // namespace

void use_streams(std::optional<bool> use) { forced = use; }

bool reads_streams(const ScanRows& s) {
  constexpr std::int64_t kCachedBytes = std::int64_t{12} << 20;  // a core's share of the last cache
  if (forced) return *forced;
  return (s.row_end - s.row_begin) * s.words * 8 > kCachedBytes && is_amd();
}

}  // namespace hh::cpu

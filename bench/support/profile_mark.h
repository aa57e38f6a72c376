// SPDX-License-Identifier: Apache-2.0
// Lines of our own in a profile of ptxsim, which appends its launches to the same file.
#pragma once
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

namespace hh::bench {

/// To the file that HH_BENCH_CASES names, if it does. The launches that follow a line of kind
/// "case", up to "case_end", are that case's.
inline void mark_profile(const nlohmann::json& line) {
  static const char* const path = std::getenv("HH_BENCH_CASES");
  if (path != nullptr) std::ofstream(path, std::ios::app) << line.dump() << std::endl;
}

}  // namespace hh::bench

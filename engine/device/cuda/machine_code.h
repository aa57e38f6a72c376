// SPDX-License-Identifier: Apache-2.0
// Which of the library's code a GPU runs. Machine code for compute capability X.Y runs on X.Z with
// Z >= Y; for any other GPU the driver compiles the PTX.
#pragma once
#include <sstream>
#include <string>

namespace hh {

/// For people. `built`: what HH_CUDA_SASS named, "80,90"; the GPU is of capability major.minor.
inline std::string machine_code_for(const std::string& built, int major, int minor) {
  int best = -1;
  std::istringstream list(built);
  for (std::string word; std::getline(list, word, ',');) {
    const int code = std::stoi(word);
    if (code / 10 == major && code % 10 <= minor && code > best) best = code;
  }
  if (best < 0) return "PTX, which the driver compiles on first use";
  return "machine code for sm_" + std::to_string(best);
}

}  // namespace hh

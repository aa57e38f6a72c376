// SPDX-License-Identifier: Apache-2.0
// How well codes use their bits.
#pragma once
#include <cstdint>
#include <vector>

#include "retrieval/codes/codes.h"

namespace hh::retrieval {

struct CodeStatistics {
  std::int64_t count = 0;
  int bits = 0;
  std::vector<double> ones;         // [bits] fraction of codes with the bit set; 0.5 is balanced
  std::vector<double> entropy;      // [bits] of each bit alone, in bits, 0 to 1
  double mean_imbalance = 0;        // mean of |ones - 0.5| * 2: 0 balanced, 1 constant
  double mean_entropy = 0;          // mean over the bits
  double mean_abs_correlation = 0;  // over pairs of bits; a constant bit has correlation 0
  std::int64_t distinct = 0;        // different codes
  std::int64_t colliding = 0;       // items whose code another item has too
  std::int64_t largest_group = 0;   // items of the commonest code
};

CodeStatistics code_statistics(CodesView codes);

}  // namespace hh::retrieval

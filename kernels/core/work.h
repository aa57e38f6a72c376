// SPDX-License-Identifier: Apache-2.0
// What a call must do, from its arguments alone: what its time is held against.
#pragma once

namespace hh {

struct Work {
  /// The least that moves to and from memory: each array once, one that is added to twice, vectors
  /// as short as a row not at all.
  double bytes = 0;
  /// Two for each multiplication and addition of its products; other arithmetic isn't counted. Of
  /// the Hamming ops: words, or pairs, compared.
  double flops = 0;
  bool reads_only = false;     // nearly all bytes are read: the yardstick is a read, not a copy
  bool half_products = false;  // its products are of 16-bit numbers, which have a rate of their own
};

}  // namespace hh

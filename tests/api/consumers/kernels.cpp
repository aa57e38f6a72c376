// SPDX-License-Identifier: Apache-2.0
// The kernels alone: an addition.
#include <iostream>
#include <vector>

#include "kernels/elementwise/add.h"

int main() {
  std::vector<float> sum{1, 2, 3}, other{10, 20, 30};
  hh::cpu::run(hh::Add<float>{.x = other.data(), .y = sum.data(), .n = 3});
  std::cout << sum[0] << ' ' << sum[2] << '\n';
  return sum[0] == 11 && sum[2] == 33 ? 0 : 1;
}

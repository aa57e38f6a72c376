// SPDX-License-Identifier: Apache-2.0
// Mapping   One thread, image by image: a batch is a few thousand numbers, less than it costs to
//           wake another thread, and equal indices resolve themselves in this order.
#include <algorithm>
#include <cstdint>

#include "kernels/loss/bank_update.h"

namespace hh::cpu {

template <class TB>
void run(const BankUpdate<TB>& p) {
  p.validate();
  for (std::int64_t i = 0; i < p.images; ++i) {
    const std::int64_t row = p.index[i];
    if (row < 0 || row >= p.bank_rows) continue;
    std::transform(p.u + i * p.bits, p.u + (i + 1) * p.bits, p.bank + row * p.bits, from_float<TB>);
    std::copy_n(p.labels + i * p.label_words, p.label_words, p.bank_labels + row * p.label_words);
  }
}

template void run(const BankUpdate<float>&);
template void run(const BankUpdate<f16>&);
template void run(const BankUpdate<bf16>&);

}  // namespace hh::cpu

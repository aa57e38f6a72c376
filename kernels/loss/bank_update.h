// Stores a batch in the memory bank: bank[index[i]] = u[i], bank_labels[index[i]] = labels[i].
// It comes before the loss, so that every image meets its own fresh code (spec section 2, step 1).
// Of equal indices the last wins. Indices outside [0, M) are the caller's error: they are not
// written (the engine checks them on the host before the batch is uploaded).
#pragma once
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"

namespace hh {

template <class TB>  // bank storage: float, f16 or bf16
struct BankUpdate {
  const float* u = nullptr;               // [B, K] in
  const std::uint64_t* labels = nullptr;  // [B, words] in
  const std::int64_t* index = nullptr;    // [B] in   bank rows
  TB* bank = nullptr;                     // [M, K] in/out
  std::uint64_t* bank_labels = nullptr;   // [M, words] in/out
  int images = 0;
  std::int64_t bank_rows = 0;
  int bits = 0;
  int label_words = 1;

  void validate() const;
};

namespace cpu {
template <class TB>
void bank_update(const BankUpdate<TB>& p);
}  // namespace cpu

}  // namespace hh

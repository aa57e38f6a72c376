// SPDX-License-Identifier: Apache-2.0
// Stores a batch in the memory bank: bank[index[i]] = u[i], bank_labels[index[i]] = labels[i].
// It comes before the loss, so that every image meets its own fresh code
// (docs/specification.md, section 2, step 1).
// u is rounded to nearest even. Of equal indices the last wins. Indices outside [0, M) are the
// caller's error: they are not written (the engine checks them on the host before the batch is
// uploaded).
#pragma once
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"
#include "kernels/core/work.h"

namespace hh {

template <class TB>  // bank storage: float, f16 or bf16
struct BankUpdate {
  const float* u = nullptr;               // [B, K] in
  const std::uint64_t* labels = nullptr;  // [B, words] in
  const std::int64_t* index = nullptr;    // [B] in   bank rows
  TB* bank = nullptr;                     // [M, K] in/out
  std::uint64_t* bank_labels = nullptr;   // [M, words] in/out
  int images = 0;                         // B >= 0
  std::int64_t bank_rows = 0;             // M >= 0
  int bits = 0;                           // K >= 1
  int label_words = 1;                    // >= 1

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    HH_PRECONDITION(images >= 0, "bank_update: images = " << images);
    HH_PRECONDITION(bank_rows >= 0, "bank_update: bank_rows = " << bank_rows);
    HH_PRECONDITION(bits >= 1, "bank_update: bits = " << bits);
    HH_PRECONDITION(label_words >= 1, "bank_update: label_words = " << label_words);
    HH_PRECONDITION(images == 0 || (u && labels && index),
                    "bank_update: an array of the batch is null");
    HH_PRECONDITION(bank_rows == 0 || (bank && bank_labels),
                    "bank_update: an array of the bank is null");
  }
  Work work() const {
    return {.bytes = images * (bits * (4.0 + sizeof(TB)) + label_words * 16.0 + 8.0)};
  }
};

namespace cpu {
/// Returns when done.
template <class TB>
void run(const BankUpdate<TB>& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
template <class TB>
void run(const BankUpdate<TB>& p, StreamHandle stream);
}  // namespace gpu

}  // namespace hh

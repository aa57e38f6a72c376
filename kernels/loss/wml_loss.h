// SPDX-License-Identifier: Apache-2.0
// Weighted maximum-likelihood hashing loss of a batch against the memory bank, and its gradient, in
// one streaming pass over the bank (no batch x bank matrix):
//
//   s_ij = 1 if the label sets of image i and bank row j share a class, else 0
//   theta_ij = alpha * u_i . U_j,      l_ij = softplus(theta_ij) - s_ij * theta_ij
//   loss = 1/S1 sum_{s=1} l_ij + 1/S0 sum_{s=0} l_ij         S1, S0: numbers of such pairs
//   du_i = alpha * sum_j w_ij (sigmoid(theta_ij) - s_ij) U_j     w = 1/S1 or 1/S0
//
// An empty side adds nothing. Where theta is exactly 0 the derivative is 1 - s, as PyTorch's is for
// the reference's formula. Bank rows never seen are zero codes with no label: dissimilar to
// everything, adding log 2 each. U_j is a constant: no gradient goes to it. A code or bank value
// that isn't finite makes the loss and the gradients it touches not finite.
// Labels are packed: class k of row j is bit k % 64 of word labels[j * words + k / 64]. Bank
// storage TB: float (goldens), f16 (the reference) or bf16.
// Source: docs/specification.md, section 2.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/core/check.h"
#include "kernels/core/half.h"
#include "kernels/core/work.h"

namespace hh {

template <class TB>
struct WmlLoss {
  const float* u = nullptr;                    // [B, K] in   codes of the batch
  const std::uint64_t* labels = nullptr;       // [B, words] in
  const TB* bank = nullptr;                    // [M, K] in   already holding this batch's codes
  const std::uint64_t* bank_labels = nullptr;  // [M, words] in
  float* loss = nullptr;                       // [1] out
  std::int64_t* pairs = nullptr;               // [2] out  S1, S0
  float* du = nullptr;                         // [B, K] out  null: only the loss
  const float* gradient_scale = nullptr;       // [1] in  null: 1; a factor of du (loss scaling)
  int images = 0;                              // B >= 1
  std::int64_t bank_rows = 0;                  // M >= 1
  int bits = 0;                                // K, 1 to 512
  int label_words = 1;                         // >= 1
  float alpha = 0.5f;
  void* workspace = nullptr;  // workspace_bytes(*this), aligned to 64

  static constexpr int kMinBits = 1, kMaxBits = 512;

  /// Throws std::invalid_argument, naming the field and its value.
  void validate() const {
    HH_PRECONDITION(images >= 1, "wml_loss: images = " << images);
    HH_PRECONDITION(bank_rows >= 1, "wml_loss: bank_rows = " << bank_rows);
    HH_PRECONDITION(bits >= kMinBits && bits <= kMaxBits, "wml_loss: bits = " << bits);
    HH_PRECONDITION(label_words >= 1, "wml_loss: label_words = " << label_words);
    HH_PRECONDITION(u && labels && bank && bank_labels && loss && pairs,
                    "wml_loss: an array is null");
  }
  Work work() const {
    return {.bytes = double(bank_rows) * (double(bits) * sizeof(TB) + 8.0 * label_words),
            .flops = (du ? 4.0 : 2.0) * images * double(bank_rows) * bits,
            .reads_only = true};
  }
};

namespace cpu {
/// Returns when done; the same bits for any number of threads.
template <class TB>
void run(const WmlLoss<TB>& p);
template <class TB>
std::size_t workspace_bytes(const WmlLoss<TB>& p);
}  // namespace cpu

namespace gpu {
/// Enqueue on `stream` and return. All arrays are device memory of the current GPU, valid until the
/// stream has passed, unless the header says host. Throw DeviceError when a launch is refused. The
/// same bits every time.
template <class TB>
void run(const WmlLoss<TB>& p, StreamHandle stream);
template <class TB>
std::size_t workspace_bytes(const WmlLoss<TB>& p);
}  // namespace gpu

}  // namespace hh

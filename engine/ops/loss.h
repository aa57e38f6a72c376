// SPDX-License-Identifier: Apache-2.0
// The loss of a batch's codes against the memory bank.
#pragma once
#include "engine/tensor/tensor.h"

namespace hh {

/// The memory bank as the loss sees it: last code and labels of every training image.
struct BankView {
  Tensor codes;   // [M, K] f32, f16 or bf16
  Tensor labels;  // [M, words] u64: packed class bits
};
/// bank[index] = code [B, K] f32, labels [B, words] u64; index [B] i64, in range. loss/bank_update.h
void bank_update(const BankView& bank, const Tensor& code, const Tensor& labels,
                 const Tensor& index);

/// The loss of a batch against the bank; the root of backward. While a Tape records, the gradient
/// is computed in the same pass and waits on the tape. loss/wml_loss.h
struct WmlLossResult {
  Tensor loss;   // [1] f32
  Tensor pairs;  // [2] i64: similar and dissimilar pairs
};
/// `gradient_scale` [1] f32, when given, multiplies the gradient (loss scaling), not the loss.
WmlLossResult wml_loss(const Tensor& code, const Tensor& labels, const BankView& bank, float alpha,
                       const Tensor& gradient_scale = {});

}  // namespace hh

// SPDX-License-Identifier: Apache-2.0
// The memory bank of the loss: the last code and the labels of every training image
// (docs/specification.md, section 2).
#pragma once
#include <cstdint>
#include <span>

#include "engine/ops/loss.h"
#include "kernels/core/label_bits.h"

namespace hh {

class MemoryBank {
 public:
  /// All rows start unseen: zero codes, no labels. `dtype` is f32, f16 (as the reference) or bf16.
  MemoryBank(std::int64_t rows, int bits, int classes, DType dtype, Device device);

  std::int64_t rows() const { return view_.codes.dim(0); }
  const BankView& view() const { return view_; }

  /// What loss() is told of a batch, on the device.
  struct Batch {
    Tensor labels;   // [B, words] u64
    Tensor indices;  // [B] i64: bank rows
  };
  /// Copies labels [B, words] and rows [B] to the device. Throws std::invalid_argument when a row
  /// isn't in [0, rows()).
  Batch batch(std::span<const std::uint64_t> labels, std::span<const std::int64_t> rows) const;
  /// The same into a Batch of the same number of images.
  void refill(const Batch& batch, std::span<const std::uint64_t> labels,
              std::span<const std::int64_t> rows) const;

  /// Stores the batch's codes and labels, then computes its loss against all rows.
  /// code [B, K] f32 on the device; labels [B, words] and rows [B] are host arrays.
  /// Throws std::invalid_argument when a row isn't in [0, rows()).
  WmlLossResult loss(const Tensor& code, std::span<const std::uint64_t> labels,
                     std::span<const std::int64_t> rows, float alpha) {
    return loss(code, batch(labels, rows), alpha);
  }
  /// `gradient_scale` as for wml_loss().
  WmlLossResult loss(const Tensor& code, const Batch& batch, float alpha,
                     const Tensor& gradient_scale = {});

 private:
  int words_;
  BankView view_;
};

}  // namespace hh

// SPDX-License-Identifier: Apache-2.0
#include "model/training/memory_bank.h"

namespace hh {

MemoryBank::MemoryBank(std::int64_t rows, int bits, int classes, DType dtype, Device device)
    : words_(label_words(classes)),
      view_{Tensor::zeros({rows, bits}, dtype, device),
            Tensor::zeros({rows, words_}, DType::u64, device)} {
  HH_PRECONDITION(rows >= 1, "a memory bank needs at least one row");
  HH_PRECONDITION(classes >= 1, "a memory bank needs at least one class");
}

MemoryBank::Batch MemoryBank::batch(std::span<const std::uint64_t> labels,
                                    std::span<const std::int64_t> rows) const {
  const Device device = view_.codes.device();
  const auto images = std::int64_t(rows.size());
  const Batch made{Tensor({images, words_}, DType::u64, device),
                   Tensor({images}, DType::i64, device)};
  refill(made, labels, rows);
  return made;
}

void MemoryBank::refill(const Batch& batch, std::span<const std::uint64_t> labels,
                        std::span<const std::int64_t> indices) const {
  assert(std::int64_t(labels.size()) == std::int64_t(indices.size()) * words_);
  for (const std::int64_t row : indices) {
    HH_PRECONDITION(row >= 0 && row < rows(), "training image " << row
                                                                << " is outside the memory bank of "
                                                                << rows() << " rows");
  }
  batch.labels.copy_from(labels);
  batch.indices.copy_from(indices);
}

WmlLossResult MemoryBank::loss(const Tensor& code, const Batch& batch, float alpha,
                               const Tensor& gradient_scale) {
  assert(code.dim(0) == batch.indices.dim(0));
  bank_update(view_, code, batch.labels, batch.indices);
  return wml_loss(code, batch.labels, view_, alpha, gradient_scale);
}

}  // namespace hh

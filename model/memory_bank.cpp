#include "model/memory_bank.h"

namespace hh {

MemoryBank::MemoryBank(std::int64_t rows, int bits, int classes, DType dtype, Device device)
    : words_(label_words(classes)),
      view_{Tensor::zeros({rows, bits}, dtype, device),
            Tensor::zeros({rows, words_}, DType::i64, device)} {
  HH_REQUIRE(rows >= 1, "a memory bank needs at least one row");
  HH_REQUIRE(classes >= 1, "a memory bank needs at least one class");
}

WmlLossResult MemoryBank::loss(const Tensor& code, std::span<const std::uint64_t> labels,
                               std::span<const std::int64_t> indices, float alpha) {
  const std::int64_t images = code.dim(0);
  assert(std::int64_t(indices.size()) == images && std::int64_t(labels.size()) == images * words_);
  for (const std::int64_t row : indices) {
    HH_REQUIRE(row >= 0 && row < rows(),
               "training image " << row << " is outside the memory bank of " << rows() << " rows");
  }
  // The words travel as i64, the engine's 64-bit type; their bits are what counts.
  const std::span<const std::int64_t> words(reinterpret_cast<const std::int64_t*>(labels.data()),
                                            labels.size());
  const Tensor device_labels = Tensor::from(words, {images, words_}, code.device());
  const Tensor device_rows = Tensor::from(indices, {images}, code.device());
  bank_update(view_, code, device_labels, device_rows);
  return wml_loss(code, device_labels, view_, alpha);
}

}  // namespace hh
